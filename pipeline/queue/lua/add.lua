-- Add: put jobs into ready (due) or delayed, whatever `leased` says (R4, H16), and wake.
-- KEYS   1 ready  2 delayed  3 priority  4 wake
-- ARGV   1 instant, then for each job: id, due ms, priority
-- Reply  "added"
local entries = {}
for i = 2, #ARGV do entries[i - 1] = ARGV[i] end
place(now_ms(ARGV[1]), entries)
return 'added'
