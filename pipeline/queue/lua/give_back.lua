-- Give back: put jobs back into ready or delayed, each only if its lease is still exactly this one
-- (R5, H13), and wake.
-- KEYS   1 ready  2 delayed  3 priority  4 wake  5 leased  6 prefix of lease keys
-- ARGV   1 instant, then for each job: id, due ms, priority, "<worker> <lease id>"
-- Reply  how many were put back
local ids, names, entries = {}, {}, {}
for i = 2, #ARGV, 4 do
  local name = KEYS[6] .. ARGV[i]
  if redis.call('GET', name) == ARGV[i + 3] then
    ids[#ids + 1] = ARGV[i]; names[#names + 1] = name
    for word = i, i + 2 do entries[#entries + 1] = ARGV[word] end
  end
end
if #ids > 0 then redis.call('DEL', unpack(names)) end
each('ZREM', KEYS[5], ids)
place(now_ms(ARGV[1]), entries)
return #ids
