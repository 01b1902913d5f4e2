-- Expired: leases whose deadline has passed, the oldest first. Nothing is moved (R9).
-- KEYS   1 leased
-- ARGV   1 instant  2 limit
-- Reply  {job id, deadline ms, …}
local now = now_ms(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
