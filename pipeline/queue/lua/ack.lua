-- Acknowledge: remove each lease that is still exactly this one, nobody else's (H13). One that ran
-- out has no lease key any more: it is the reaper's.
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit  9 active
-- ARGV   1 instant, then for each job: id, "<worker> <lease id>"
-- Reply  how many were removed; or -1 if limit keys are in use: then nothing was done, and
--        `ack_limited` does it
local names, ours, ids = {KEYS[8], KEYS[9]}, {}, {}
for i = 2, #ARGV, 2 do names[#names + 1] = KEYS[6] .. ARGV[i] end
local found = redis.call('MGET', unpack(names))
if found[2] then return -1 end
for n = 3, #found do
  if found[n] == ARGV[2 * n - 3] then
    ours[#ours + 1] = names[n]; ids[#ids + 1] = ARGV[2 * n - 4]
  end
end
if #ids == 0 then return 0 end
redis.call('DEL', unpack(ours))
redis.call('ZREM', KEYS[5], unpack(ids))
if found[1] then
  local left, most = redis.call('ZCARD', KEYS[5]), tonumber(string.match(found[1], '^%S+'))
  if left < most and left + #ids >= most  -- who slept for this has set no timer
    and redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then wake(KEYS[4]) end
end
return #ids
