-- Recount: put right what jobs of limit keys hold, if anything ever made it wrong (a process of
-- another version, somebody's hand), and judge the keys anew. "active" goes when no job has a limit
-- key any more (those that are delayed have it in priority).
-- KEYS   1 to 7 as in limits.lua  8 active
-- ARGV   1 instant  2 cursor ("0": begin)  3 what is gone through: "of", "slots", "claims", "keys"
-- Reply  the next cursor, "0": done
local what, touched, names, values = ARGV[3], {}, {}, {}
local scan = what == 'of' and 'HSCAN' or 'ZSCAN'
settle()
local found = redis.call(scan, KEYS[7] .. what, ARGV[2], 'COUNT', 500)
for i = 1, #found[2], 2 do
  names[#names + 1] = found[2][i]; values[#values + 1] = found[2][i + 1]
  if what == 'keys' then touched[found[2][i]] = 1 end
end
if #names > 0 and wrong[what] then wrong[what](names, values, touched) end
local head = head_of(KEYS[2])
if judge(now_ms(ARGV[1]), touched) or is_sooner(head) then wake(KEYS[4]) end
if redis.call('EXISTS', KEYS[3], KEYS[7] .. 'of') == 0 then redis.call('DEL', KEYS[8]) end
return found[1]
