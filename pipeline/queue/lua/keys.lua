-- Keys: the limit keys that hold jobs back. Reads only.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant  2 limit
-- Reply  {now ms, {key, 2 or the instant of its next token, "<job id> <limit>" of its first job,
--        how many wait, how many of its leases there are}, …}
local found = redis.call('ZRANGEBYSCORE', KEYS[7] .. 'keys', FULL, '+inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[2])
local reply = {now_ms(ARGV[1])}
for i = 1, #found, 2 do
  local key = found[i]
  local waits = KEYS[7] .. 'waits:' .. key
  reply[#reply + 1] = {
    key, found[i + 1], redis.call('ZRANGE', waits, 0, 0)[1] or '', redis.call('ZCARD', waits),
    tonumber(redis.call('HGET', KEYS[7] .. 'running', key) or 0),
  }
end
return reply
