-- Lease: move what is due from delayed to ready, then give up to `limit` of ready in order.
-- The same lease id again gives the same jobs: a lost reply orphans no lease (R8).
-- KEYS   1 to 7 as in limits.lua  8 this worker's grant  9 paused  10 queue's own limit  11 active
-- ARGV   1 instant  2 limit (≤ 1000)  3 ttl ms  4 worker  5 lease id
-- Reply  {now µs, next due ms or -1, "open" | "paused", job id, …}; {} if limits are in use:
--        nothing was done, `lease_own` or `lease_limited` does it
local grant, paused, own, active = unpack(redis.call('MGET', unpack(KEYS, 8, 11)))
if own or active then return {} end
local limit, us = tonumber(ARGV[2]), now_us(ARGV[1])
local now = math.floor(us / 1000)
local reply, given = {us, -1, paused and 'paused' or 'open'}, 0

local granted = string.gmatch(grant or '', '%S+')
if granted() == ARGV[5] then
  for id in granted do reply[#reply + 1] = id end
elseif not paused then
  promote(now)
  given = give(now, limit, reply)
end
if not paused then reply[2] = head_of(KEYS[2]) or -1 end
-- Took its fill: another shall look at what is left, or set its timer to the next due job.
if given == limit and (reply[2] > 0 or head_of(KEYS[1])) then wake(KEYS[4]) end
return reply
