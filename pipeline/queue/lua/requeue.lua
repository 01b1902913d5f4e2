-- Requeue: an expired lease back to where its job waits, only if exactly this lease is still there:
-- the job may have been leased again since somebody read its deadline (H12).
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit  9 active
-- ARGV   1 instant, then for each job: id, due ms, priority, "<limit> <key>" or "", deadline ms
-- Reply  how many were put back
local now, ids, names, jobs = now_ms(ARGV[1]), {}, {}, {}
for i = 2, #ARGV, 5 do
  local deadline = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[i]))
  if deadline == tonumber(ARGV[i + 4]) and deadline <= now then
    ids[#ids + 1] = ARGV[i]; names[#names + 1] = KEYS[6] .. ARGV[i]
    for word = i, i + 3 do jobs[#jobs + 1] = ARGV[word] end
  end
end
if #ids > 0 then redis.call('DEL', unpack(names)) end
each('ZREM', KEYS[5], ids)
place(now, jobs)
if has_room(#ids, redis.call('GET', KEYS[8])) then wake(KEYS[4]) end
return #ids
