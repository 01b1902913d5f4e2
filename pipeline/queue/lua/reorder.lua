-- Stands after `recall.lua` in front of the scripts that put jobs into ready.

-- Where one in line comes before one in ready, they change places; whether anybody got a slot. Who
-- may not run by its own numbers drives all behind it out of ready: a thousand in one script, for
-- Redis serves nobody else meanwhile. Others keep their slots until the next job of the key comes.
local function reorder(now, keys)
  local may, count = false, 0
  for key in pairs(keys) do
    local low, high = bounds_of(key)
    repeat
      local first = redis.call('ZRANGEBYLEX', KEYS[7] .. 'waits', low, high, 'LIMIT', 0, 1)[1]
      local id, member = nil, nil
      if first and count < 1000 then id, member = last_in_ready(key, '(' .. first) end
      if id then
        count = count + 1
        send_back(id, member, key)
        may = judge(now, {[key] = 1}) or may
      end
    until not id
  end
  return may
end
