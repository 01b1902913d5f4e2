-- Forgo: acknowledge leases under which nothing was started, and give back what they took of rates.
-- KEYS   1 to 9 as in ack.lua
-- ARGV   1 instant, then for each job: id, "<worker> <lease id>"
-- Reply  how many were removed
local ids, own, active = let_go()
local now = now_ms(ARGV[1])
refund(now, ids, own, active)
ended(now, ids, own, active)
return #ids
