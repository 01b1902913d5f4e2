-- Keys: the limit keys that hold jobs back. Reads only.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant  2 limit
-- Reply  {now ms, {key, 2, 3 or the instant of its next token, the member that is first in line,
--        how many are in line, how many of its leases there are}, …}
local found = redis.call('ZRANGE', KEYS[7] .. 'keys', 0, ARGV[2] - 1, 'WITHSCORES')
local reply = {now_ms(ARGV[1])}
for i = 1, #found, 2 do
  local key = found[i]
  local low, high = bounds_of(key)
  reply[#reply + 1] = {
    key, found[i + 1],
    redis.call('ZRANGEBYLEX', KEYS[7] .. 'waits', low, high, 'LIMIT', 0, 1)[1] or '',
    redis.call('ZLEXCOUNT', KEYS[7] .. 'waits', low, high), running_of(key),
  }
end
return reply
