-- Limit: the queue's own limit from now on, none if it is "", and wake. What was spent of the rate
-- counts on, but for no more than the new bucket holds.
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit
-- ARGV   1 limit or ""
-- Reply  "limited"
if ARGV[1] == '' then redis.call('DEL', KEYS[8]) else redis.call('SET', KEYS[8], ARGV[1]) end
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then wake(KEYS[4]) end
return 'limited'
