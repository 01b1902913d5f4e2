-- Stands after `seats.lua` in front of the scripts that end leases.

-- Whether the queue's own limit (false: it has none) has room again, now that so many leases have
-- ended, for something that waits: who slept for this has set no timer.
local function has_room(count, own)
  if not own then return false end
  local left, most = redis.call('ZCARD', KEYS[5]), numbers_of(own)
  return left < most and left + count >= most and redis.call('EXISTS', KEYS[1], KEYS[2]) > 0
end

-- Whether a timer has to ring before those of sleeping workers do, which ring at `head`, the first
-- of delayed as it was: who gets a slot of its key next may have to wait for a token yet.
local function is_sooner(head) return (head_of(KEYS[2]) or math.huge) < (head or math.huge) end

-- These leases have ended: free what they held, and wake if that lets something run, now or soon.
-- `active`: whether jobs have limit keys, and "rates" if they have rates (false if not).
local function ended(now, ids, own, active)
  if #ids == 0 then return end
  local has_rates = active == 'rates'
  local head = has_rates and head_of(KEYS[2])
  if has_rates then settle() end
  local may = active and judge(now, free(ids), FULL)
  if may or has_room(#ids, own) or has_rates and is_sooner(head) then wake(KEYS[4]) end
end
