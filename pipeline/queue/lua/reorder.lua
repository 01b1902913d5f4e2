-- Stands after `recall.lua` in front of the scripts that put jobs into ready.

-- Where one in line comes before one in ready, they change places; whether anybody got a slot.
local function reorder(now, keys)
  local may = false
  for key in pairs(keys) do
    local low, high = bounds_of(key)
    repeat
      local first = redis.call('ZRANGEBYLEX', KEYS[7] .. 'waits', low, high, 'LIMIT', 0, 1)[1]
      local id, member = nil, nil
      if first then id, member = last_in_ready(key, '(' .. first) end
      if id then
        send_back(id, member, key)
        may = judge(now, {[key] = 1}) or may
      end
    until not id
  end
  return may
end
