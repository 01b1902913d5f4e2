-- Stands after `ended.lua` in front of the scripts that acknowledge where jobs have limit keys.

-- Remove each lease of ARGV (as in ack.lua) that is still exactly this one. The ids of their jobs,
-- the queue's own limit, and whether leases of limit keys exist (both false if not).
local function let_go()
  local names, ours, ids = {KEYS[8], KEYS[9]}, {}, {}
  for i = 2, #ARGV, 2 do names[#names + 1] = KEYS[6] .. ARGV[i] end
  local found = redis.call('MGET', unpack(names))
  for n = 3, #found do
    if found[n] == ARGV[2 * n - 3] then
      ours[#ours + 1] = names[n]; ids[#ids + 1] = ARGV[2 * n - 4]
    end
  end
  if #ids > 0 then redis.call('DEL', unpack(ours)) end
  each('ZREM', KEYS[5], ids)
  return ids, found[1], found[2]
end
