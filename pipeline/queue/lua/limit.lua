-- Limit: the queue's own limit from now on, none if it is "", and wake. What was spent of the rate
-- counts on, but for no more than the new bucket holds.
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit
-- ARGV   1 instant  2 limit or ""
-- Reply  "limited"
if ARGV[2] == '' then redis.call('DEL', KEYS[8])
else
  local _, interval, burst = numbers_of(ARGV[2])
  local spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', '') or 0)
  redis.call('SET', KEYS[8], ARGV[2])
  if interval > 0 then forgiven(now_ms(ARGV[1]), '', spent, interval, burst) end
end
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then wake(KEYS[4]) end
return 'limited'
