-- View: counts, and the due time of the longest waiting job. A due job that nobody has moved from
-- delayed yet counts as ready: that is what it is.
-- KEYS   1 ready  2 delayed  3 leased  4 paused
-- ARGV   1 instant
-- Reply  {now ms, delayed, ready, leased, paused 0 or 1, oldest due ms (now if none)}
local now = now_ms(ARGV[1])
local late = redis.call('ZCOUNT', KEYS[2], '-inf', now)
local oldest = math.min(now, head_of(KEYS[2]) or now)
for priority = 0, 9 do
  local low, high = ready_score(priority, 0), ready_score(priority, 1e13 - 1)
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], low, high, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then oldest = math.min(oldest, first[2] - low) end
end
return {
  now, redis.call('ZCARD', KEYS[2]) - late, redis.call('ZCARD', KEYS[1]) + late,
  redis.call('ZCARD', KEYS[3]), redis.call('EXISTS', KEYS[4]), oldest,
}
