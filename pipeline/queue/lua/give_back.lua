-- Give back: put jobs that were not started back to where they wait, with what they took of rates,
-- each only if its lease is still exactly this one (R5, H13), and wake.
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit  9 active
-- ARGV   1 instant, then for each job: id, due ms, priority, "<limit> <key>" or "",
--        "<worker> <lease id>"
-- Reply  how many were put back
local ids, names, jobs = {}, {}, {}
for i = 2, #ARGV, 5 do
  local name = KEYS[6] .. ARGV[i]
  if redis.call('GET', name) == ARGV[i + 4] then
    ids[#ids + 1] = ARGV[i]; names[#names + 1] = name
    for word = i, i + 3 do jobs[#jobs + 1] = ARGV[word] end
  end
end
if #ids > 0 then redis.call('DEL', unpack(names)) end
each('ZREM', KEYS[5], ids)
local now, own, active = now_ms(ARGV[1]), unpack(redis.call('MGET', KEYS[8], KEYS[9]))
refund(now, ids, own, active)
place(now, jobs)
if has_room(#ids, own) then wake(KEYS[4]) end
return #ids
