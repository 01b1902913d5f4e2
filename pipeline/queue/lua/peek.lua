-- Peek: the first of those that are due, that wait for limit keys, that are delayed. Reads only.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant  2 limit (≤ 1000)
-- Reply  {now ms, {job id, score, …}, {job id, due ms, …}, {priority or nothing, …}, {{key, 1, 2
--        or the instant of its next token, its leases, {"<job id> <limit>", score, …}}, …}}
local last = tonumber(ARGV[2]) - 1
local keys, streams, ids = {}, {}, {}
local function without_marks(found)
  local jobs = {}
  for i = 1, #found, 2 do
    if string.byte(found[i]) == 61 then keys[#keys + 1] = string.sub(found[i], 2)
    else jobs[#jobs + 1] = found[i]; jobs[#jobs + 1] = found[i + 1] end
  end
  return jobs
end
local ready = without_marks(redis.call('ZRANGE', KEYS[1], 0, last, 'WITHSCORES'))
local delayed = without_marks(redis.call('ZRANGE', KEYS[2], 0, last, 'WITHSCORES'))
local full = redis.call('ZRANGEBYSCORE', KEYS[7] .. 'keys', FULL, FULL, 'LIMIT', 0, ARGV[2])
for _, key in ipairs(full) do keys[#keys + 1] = key end
for n, key in ipairs(keys) do
  streams[n] = {
    key, redis.call('ZSCORE', KEYS[7] .. 'keys', key) or '0',
    tonumber(redis.call('HGET', KEYS[7] .. 'running', key) or 0),
    redis.call('ZRANGE', KEYS[7] .. 'waits:' .. key, 0, math.min(last, 99), 'WITHSCORES'),
  }
end
for i = 1, #delayed, 2 do ids[#ids + 1] = delayed[i] end
local odd = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}
return {now_ms(ARGV[1]), ready, delayed, odd, streams}
