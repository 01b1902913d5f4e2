-- Take back: delete a value if it is still this one.
-- KEYS   1 the value
-- ARGV   1 what it was
-- Reply  how many were deleted
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
