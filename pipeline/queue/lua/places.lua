-- Places: what a worker over HTTP runs for `ttl` from now, and what it does not run (any more).
-- KEYS   1 its places  2 its hash
-- ARGV   1 instant  2 ttl ms  3 how many of what follows it runs, then lease ids: those first
-- Reply  how many it runs
local now, ttl, kept = now_ms(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 4 + kept, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
for i = 4, 3 + kept do redis.call('ZADD', KEYS[1], now + ttl, ARGV[i]) end
if kept > 0 and redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
local running = redis.call('ZCARD', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'running', running) end
return running
