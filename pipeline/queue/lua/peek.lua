-- Peek: the first of ready and of delayed. Reads only.
-- KEYS   1 ready  2 delayed  3 priority
-- ARGV   1 instant  2 limit (≤ 1000)
-- Reply  {now ms, {job id, score, …}, {job id, due ms, …}, {priority or nothing, …}}
local last = tonumber(ARGV[2]) - 1
local ready = redis.call('ZRANGE', KEYS[1], 0, last, 'WITHSCORES')
local delayed = redis.call('ZRANGE', KEYS[2], 0, last, 'WITHSCORES')
local ids = {}
for i = 1, #delayed, 2 do ids[#ids + 1] = delayed[i] end
local odd = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}
return {now_ms(ARGV[1]), ready, delayed, odd}
