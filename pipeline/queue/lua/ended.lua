-- Stands after `holds.lua` in front of the scripts that end leases.

-- Keys that have fewer leases now: those that waited for that are judged; whether one may run.
local function judge_full(now, keys)
  local full = {}
  if #keys == 0 or redis.call('ZCOUNT', KEYS[7] .. 'keys', FULL, FULL) == 0 then return false end
  for n, state in ipairs(redis.call('ZMSCORE', KEYS[7] .. 'keys', unpack(keys))) do
    if tonumber(state) == FULL then full[#full + 1] = keys[n] end
  end
  return judge(now, full)
end

-- These leases have ended: free what they held, and wake if that lets something run. `own` is the
-- queue's own limit, `active` whether leases of limit keys exist (both false if not).
local function ended(instant, ids, own, active)
  if #ids == 0 then return end
  local may = active and judge_full(now_ms(instant), hold(ids))
  if own then
    local left, most = redis.call('ZCARD', KEYS[5]), numbers_of(own)
    if left < most and left + #ids >= most then  -- who slept for this has set no timer
      may = may or redis.call('EXISTS', KEYS[1], KEYS[2]) > 0
    end
  end
  if may then wake(KEYS[4]) end
end
