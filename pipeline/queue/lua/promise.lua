-- Promise: the job that a request for work is given, unless one is promised to it already; and a
-- place for it among those that its worker may run at a time.
-- KEYS   1 the promise  2 the worker's places  3 the worker's hash
-- ARGV   1 instant  2 ttl ms  3 the promise  4 its lease id  5 how many it may run
-- Reply  the promise that stands; "" if there is no place, or no such worker (any more)
local stands = redis.call('GET', KEYS[1])
if stands then return stands end
if redis.call('EXISTS', KEYS[3]) == 0 then return '' end
local now, ttl = now_ms(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local running = redis.call('ZCARD', KEYS[2])
if running >= tonumber(ARGV[5]) then return '' end
redis.call('ZADD', KEYS[2], now + ttl, ARGV[4])
if redis.call('PTTL', KEYS[2]) < ttl then redis.call('PEXPIRE', KEYS[2], ttl) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ttl)
redis.call('HSET', KEYS[3], 'running', running + 1)
return ARGV[3]
