-- Acknowledge where jobs have limit keys, or had: as `ack`, and free what the leases held.
-- KEYS   1 to 9 as in ack.lua
-- ARGV   1 instant, then for each job: id, "<worker> <lease id>"
-- Reply  how many were removed
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
ended(ARGV[1], ids, found[1], found[2])
return #ids
