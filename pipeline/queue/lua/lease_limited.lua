-- Lease where jobs have limit keys, or had: as `lease`, as far as all limits allow. Who is in ready
-- has its slot already, and a claim to a token if it needs one.
-- KEYS   1 to 11 as in lease.lua
-- ARGV   1 to 5 as in lease.lua
-- Reply  as of lease.lua, "unlimited" for "open" where no limit keys are in use any more
local limit, us = tonumber(ARGV[2]), now_us(ARGV[1])
local now = math.floor(us / 1000)
local grant, paused, own, active = unpack(redis.call('MGET', unpack(KEYS, 8, 11)))
local reply, members, ids = {us, -1, paused and 'paused' or 'open'}, {}, {}
local granted = string.gmatch(grant or '', '%S+')
local room = own and room_of(now, own)

if granted() == ARGV[5] then
  for id in granted do reply[#reply + 1] = id end
elseif not paused then
  local allowed = own and math.max(0, math.min(limit, room.leases, room.tokens)) or limit
  if allowed > 0 and (head_of(KEYS[2]) or math.huge) <= now then promote(now) end
  ids = take(now, allowed, active == 'rates')
  local owner, deadline = ARGV[4] .. ' ' .. ARGV[5], exact(now + ARGV[3])
  for n, id in ipairs(ids) do
    redis.call('SET', KEYS[6] .. id, owner, 'PX', ARGV[3])
    members[2 * n - 1], members[2 * n], reply[n + 3] = deadline, id, id
  end
  each('ZADD', KEYS[5], members)
  if own and #ids > 0 then room = spent_by(now, own, room, #ids) end
  local words = table.concat({ARGV[5], unpack(ids)}, ' ')
  if #ids > 0 then redis.call('SET', KEYS[8], words, 'PX', ARGV[3]) end
end
if reply[3] == 'open' and not active then reply[3] = 'unlimited' end
if not paused then reply[2] = next_look(own and room) end
-- Took its fill: another shall look at what is left, or set its timer to the next due job.
if #ids == limit and limit > 0 and (reply[2] > 0 or head_of(KEYS[1])) and
  not (own and room.leases <= 0) then wake(KEYS[4]) end
return reply
