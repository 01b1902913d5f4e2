-- Stands after `ended.lua` in front of the scripts that end leases under which nothing was started.

-- Give back the tokens that these leases took, before they end: the next may have them at once. A
-- thousand jobs that were cancelled while they waited would else use up the rate of all others.
local function refund(now, ids, own, active)
  local back, keys, may = {}, {}, false
  if #ids == 0 then return end
  settle()
  local twice, has_rates = twice_of(ids), active == 'rates'
  for n, member in ipairs(has_rates and redis.call('HMGET', KEYS[7] .. 'of', unpack(ids)) or {}) do
    local key, _, _, limit = parts_of(member or '')
    local _, token = numbers_of((limit or '') ~= '' and limit or '0 0 0')
    if token > 0 and not twice[ids[n]] then back[key], keys[key] = (back[key] or 0) + token, 1 end
  end
  local _, interval = numbers_of(own or '0 0 0')
  if interval > 0 then
    back[''], may = #ids * interval, redis.call('EXISTS', KEYS[1], KEYS[2]) > 0
  end
  for key, tokens in pairs(back) do
    local spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', key) or 0)
    redis.call('HSET', KEYS[7] .. 'spent', key, exact(spent - tokens))
  end
  local head = head_of(KEYS[2])
  if judge(now, keys) or may or is_sooner(head) then wake(KEYS[4]) end
end
