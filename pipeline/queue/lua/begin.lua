-- Stands after `room.lua` in front of the lease script.

-- These jobs are leased: they wait for their limit keys no more, and count for them.
local function begin(now, leases, active)
  local keyed = {}
  for n, id in ipairs(leases.ids) do
    if leases.keys[n] then keyed[#keyed + 1] = id end
  end
  if #leases.ids == 0 or #keyed == 0 and not active then return end
  each('HDEL', KEYS[7] .. 'of', keyed)
  if judge_full(now, hold(leases.ids, leases.keys, leases.tokens)) then wake(KEYS[4]) end
end
