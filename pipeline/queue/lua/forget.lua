-- Forget: keys whose tokens are all back; a bucket that is full needs no number. One from which
-- somebody has just taken a token is not full.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant  2 cursor ("0": begin)
-- Reply  the next cursor, "0": done
settle()
local now, gone, spent = now_ms(ARGV[1]), {}, KEYS[7] .. 'spent'
local found = redis.call('HSCAN', spent, ARGV[2], 'COUNT', 500)
for i = 1, #found[2], 2 do
  if tonumber(found[2][i + 1]) <= now then gone[#gone + 1] = found[2][i] end
end
each('HDEL', spent, gone)
return found[1]
