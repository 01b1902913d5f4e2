-- Peek: the first of those in ready, in line for limit keys, delayed. Reads only.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant  2 limit (≤ 1000)
-- Reply  {now ms, {job id, score, …}, {job id, due ms, …}, {priority or nothing, …}, {{key, 2, 3 or
--        the instant of its next token, its leases, {member of "waits", …}}, …}}
local last = tonumber(ARGV[2]) - 1
local streams, ids, delayed = {}, {}, {}
local ready = redis.call('ZRANGE', KEYS[1], 0, last, 'WITHSCORES')
local found = redis.call('ZRANGE', KEYS[2], 0, last, 'WITHSCORES')
for i = 1, #found, 2 do
  if string.byte(found[i]) ~= 61 then
    ids[#ids + 1] = found[i]
    delayed[#delayed + 1] = found[i]; delayed[#delayed + 1] = found[i + 1]
  end
end
local keys = redis.call('ZRANGE', KEYS[7] .. 'keys', 0, last, 'WITHSCORES')
for i = 1, #keys, 2 do
  local low, high = bounds_of(keys[i])
  local line = redis.call('ZRANGEBYLEX', KEYS[7] .. 'waits', low, high, 'LIMIT', 0,
    math.min(last, 99) + 1)
  streams[#streams + 1] = {keys[i], keys[i + 1], running_of(keys[i]), line}
end
local odd = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}
return {now_ms(ARGV[1]), ready, delayed, odd, streams}
