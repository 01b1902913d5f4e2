-- Announce: what a worker says of itself, forgotten `ttl` after it last said so.
-- KEYS   1 the worker's hash
-- ARGV   1 ttl ms, then field, value, …
-- Reply  "announced"
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'announced'
