-- Requeue: an expired lease back into ready or delayed, only if exactly this lease is still there:
-- the job may have been leased again since somebody read its deadline (H12).
-- KEYS   1 ready  2 delayed  3 priority  4 wake  5 leased  6 prefix of lease keys
-- ARGV   1 instant, then for each job: id, due ms, priority, deadline ms
-- Reply  how many were put back
local now, ids, names, entries = now_ms(ARGV[1]), {}, {}, {}
for i = 2, #ARGV, 4 do
  local deadline = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[i]))
  if deadline == tonumber(ARGV[i + 3]) and deadline <= now then
    ids[#ids + 1] = ARGV[i]; names[#names + 1] = KEYS[6] .. ARGV[i]
    for word = i, i + 2 do entries[#entries + 1] = ARGV[word] end
  end
end
if #ids > 0 then redis.call('DEL', unpack(names)) end
each('ZREM', KEYS[5], ids)
place(now, entries)
return #ids
