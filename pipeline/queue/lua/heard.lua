-- Heard: a worker that is known is alive.
-- KEYS   1 the worker's hash
-- ARGV   1 instant  2 ttl ms
-- Reply  {field, value, …}; {} if there is no such worker
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
redis.call('HSET', KEYS[1], 'seen_ms', now_ms(ARGV[1]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
