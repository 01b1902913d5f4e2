-- Add: put jobs where each has to wait (due, for its limit key, delayed), whatever `leased` says
-- (R4, H16), and wake.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant, then for each job: id, due ms, priority, "<limit> <key>" or ""
-- Reply  "added"
local jobs = {}
for i = 2, #ARGV do jobs[i - 1] = ARGV[i] end
place(now_ms(ARGV[1]), jobs)
return 'added'
