-- Drop: remove an expired lease, only if exactly this lease is still there (H12).
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit  9 active
-- ARGV   1 instant, then for each job: id, deadline ms
-- Reply  how many were removed
local now, ids, names = now_ms(ARGV[1]), {}, {}
for i = 2, #ARGV, 2 do
  local deadline = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[i]))
  if deadline == tonumber(ARGV[i + 1]) and deadline <= now then
    ids[#ids + 1] = ARGV[i]; names[#names + 1] = KEYS[6] .. ARGV[i]
  end
end
if #ids > 0 then redis.call('DEL', unpack(names)) end
each('ZREM', KEYS[5], ids)
ended(now, ids, unpack(redis.call('MGET', KEYS[8], KEYS[9])))
return #ids
