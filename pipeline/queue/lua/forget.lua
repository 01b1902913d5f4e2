-- Forget: keys whose tokens are all back; a bucket that is full needs no number.
-- KEYS   1 spent
-- ARGV   1 instant  2 cursor ("0": begin)
-- Reply  the next cursor, "0": done
local now, gone = now_ms(ARGV[1]), {}
local found = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
for i = 1, #found[2], 2 do
  if tonumber(found[2][i + 1]) <= now then gone[#gone + 1] = found[2][i] end
end
each('HDEL', KEYS[1], gone)
return found[1]
