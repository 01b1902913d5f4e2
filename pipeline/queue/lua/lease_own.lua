-- Lease where the queue has a limit and no job has a limit key: as `lease`, as far as it allows.
-- KEYS   1 to 11 as in lease.lua
-- ARGV   1 to 5 as in lease.lua
-- Reply  as of lease.lua, "unlimited" for "open" where no limit is in use any more; {} if limit
--        keys are: nothing was done, `lease_limited` does it
local grant, paused, own, active = unpack(redis.call('MGET', unpack(KEYS, 8, 11)))
if active then return {} end
local limit, us = tonumber(ARGV[2]), now_us(ARGV[1])
local now = math.floor(us / 1000)
local reply, given = {us, -1, paused and 'paused' or own and 'open' or 'unlimited'}, 0
local room = own and room_of(now, own)

local granted = string.gmatch(grant or '', '%S+')
if granted() == ARGV[5] then
  for id in granted do reply[#reply + 1] = id end
elseif not paused then
  local allowed = room and math.max(0, math.min(limit, room.leases, room.tokens)) or limit
  if allowed > 0 then
    promote(now)
    given = give(now, allowed, reply)
  end
  if room and given > 0 then room = spent_by(now, own, room, given) end
end
if not paused then reply[2] = next_look(room) end
-- Took its fill: another shall look at what is left, or set its timer to the next due job.
if given == limit and given > 0 and (reply[2] > 0 or head_of(KEYS[1])) and
  not (room and room.leases <= 0) then wake(KEYS[4]) end
return reply
