-- Acknowledge where jobs have limit keys, or had: as `ack`, and free what the leases held.
-- KEYS   1 to 9 as in ack.lua
-- ARGV   1 instant, then for each job: id, "<worker> <lease id>"
-- Reply  how many were removed
local ids, own, active = let_go()
ended(now_ms(ARGV[1]), ids, own, active)
return #ids
