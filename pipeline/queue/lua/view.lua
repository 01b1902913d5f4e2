-- View: counts, and the due time of the longest waiting job that limits of keys let run. A due job
-- that nobody has moved from delayed yet counts as ready: that is what it is.
-- KEYS   1 to 7 as in limits.lua  8 paused  9 the queue's own limit
-- ARGV   1 instant
-- Reply  {now ms, delayed, ready, leased, paused 0 or 1, oldest due ms (now if none), the queue's
--        own limit or "", when it has room again (ms; 0: now, -1: when a lease ends), how many of
--        the ready wait for limit keys}
local now, keys = now_ms(ARGV[1]), KEYS[7] .. 'keys'
local own, held_back, again = redis.call('GET', KEYS[9]), 0, 0
local late = redis.call('ZCOUNT', KEYS[2], '-inf', now)
local ready = redis.call('ZCARD', KEYS[1])
local first = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
local oldest = math.min(now, tonumber(first[2]) or now)
for priority = 0, ready > 0 and 9 or -1 do
  local low, high = ready_score(priority, 0), ready_score(priority, 1e13 - 1)
  first = redis.call('ZRANGEBYSCORE', KEYS[1], low, high, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then oldest = math.min(oldest, first[2] - low) end
end
local delayed = redis.call('ZCARD', KEYS[2]) - late
if redis.call('EXISTS', keys) == 1 then
  held_back = redis.call('ZCARD', KEYS[7] .. 'waits')
  late = late - redis.call('ZCOUNT', keys, CLAIMED + 1, now)
  delayed = delayed - redis.call('ZCOUNT', keys, '(' .. math.max(now, CLAIMED), '+inf')
  ready = ready + held_back
end
if own then
  local room = room_of(now, own)
  again = room.leases <= 0 and -1 or room.tokens < 1 and room.again or 0
end
return {
  now, delayed, ready + late, redis.call('ZCARD', KEYS[5]), redis.call('EXISTS', KEYS[8]),
  oldest, own or '', again, held_back,
}
