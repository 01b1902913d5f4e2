-- Close: the target has answered.
-- KEYS   1 targets  2 this target
-- ARGV   1 origin
-- Reply  "closed" | "unknown"
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2]) == 1 and 'closed' or 'unknown'
