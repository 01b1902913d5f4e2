-- Stands after `seats.lua` in front of the scripts that end leases.

-- Whether the queue's own limit (false: it has none) has room again, now that so many leases have
-- ended, for something that waits: who slept for this has set no timer.
local function has_room(count, own)
  if not own then return false end
  local left, most = redis.call('ZCARD', KEYS[5]), numbers_of(own)
  return left < most and left + count >= most and redis.call('EXISTS', KEYS[1], KEYS[2]) > 0
end

-- These leases have ended: free what they held, and wake if that lets something run. `active`:
-- whether jobs have limit keys, and of which kind (false if not).
local function ended(now, ids, own, active)
  if #ids == 0 then return end
  if active == 'rates' then settle() end
  local may = active and judge(now, free(ids), FULL)
  if has_room(#ids, own) or may then wake(KEYS[4]) end
end
