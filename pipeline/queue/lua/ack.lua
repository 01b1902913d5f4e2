-- Acknowledge: remove each lease that is still exactly this one, nobody else's (H13). One that ran
-- out has no lease key any more: it is the reaper's.
-- KEYS   1 leased  2 prefix of lease keys
-- ARGV   for each job: id, "<worker> <lease id>"
-- Reply  how many were removed
local names, ours, ids = {}, {}, {}
for i = 1, #ARGV, 2 do names[#names + 1] = KEYS[2] .. ARGV[i] end
for n, owner in ipairs(redis.call('MGET', unpack(names))) do
  if owner == ARGV[2 * n] then
    ours[#ours + 1] = names[n]; ids[#ids + 1] = ARGV[2 * n - 1]
  end
end
if #ids > 0 then redis.call('DEL', unpack(ours)) end
each('ZREM', KEYS[1], ids)
return #ids
