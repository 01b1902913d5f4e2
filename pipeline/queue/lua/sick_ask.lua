-- Ask: may a request go to this target now, and if not, when is it worth asking again?
-- The line of those held back: the first comes when the target may be probed, the second one
-- `grace` later, when the probe has had time to answer, all others `gap` after the one before. So
-- a million of them come back at one each `gap`, and not all at once; none is put off for more
-- than `far`: beyond, they are spread over its second half.
-- KEYS   1 targets  2 this target
-- ARGV   1 instant  2 probe  3 probe counts for ms  4 gap ms  5 grace ms  6 far ms  7 lot [0, 1)
--        8 queue  9 keep ms  10 origin
-- Reply  {"well"} | {"probe"} | {"wait", ms, error}
local now = now_ms(ARGV[1])
local gap, grace, far = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local is = redis.call('HMGET', KEYS[2], 'until_ms', 'probe_ms', 'slot_ms', 'error')
if not is[1] then
  redis.call('ZREM', KEYS[1], ARGV[10])
  return {'well'}
end
redis.call('PEXPIRE', KEYS[2], ARGV[9])
redis.call('ZADD', KEYS[1], now + ARGV[9], ARGV[10])
if now >= tonumber(is[1]) and now >= tonumber(is[2] or 0) then
  redis.call('HSET', KEYS[2], 'probe', ARGV[2], 'probe_ms', now + ARGV[3])
  return {'probe'}
end
local first, slot = math.max(tonumber(is[1]), now + grace), tonumber(is[3] or 0)
local at, taken = slot + gap, slot + gap
if slot < first then at, taken = first, first + grace - gap end
if at > now + far then
  at, taken = now + math.floor(far / 2 * (1 + ARGV[7])), slot
end
redis.call('HSET', KEYS[2], 'slot_ms', taken)
redis.call('HINCRBY', KEYS[2], 'held:' .. ARGV[8], 1)
return {'wait', at - now, is[4]}
