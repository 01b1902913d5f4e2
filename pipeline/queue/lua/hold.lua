-- Stands after `recall.lua` in front of `extend.lua`.

-- More of this key run than was known: as many as are too many leave ready and are in line.
local function shrink(key)
  while true do
    local id, member = last_in_ready(key, '[' .. key .. ' 0')
    local _, _, _, limit = parts_of(member or '')
    local most = numbers_of(limit or '0 0 0')
    if most == 0 or look_at(key).taken <= most then return end
    send_back(id, member, key)
  end
end

-- This job runs under `key` (or false): one slot of that key is its own. Who is in ready has one,
-- who is in line gets one beside. The key that has one less, the key that has one more.
local function hold_one(id, member, key, is_ready)
  local before, apart = member and parts_of(member), key and key .. ' - ' .. id
  local waits = member and (is_ready or redis.call('ZSCORE', KEYS[7] .. 'waits', member))
  if waits then redis.call('SADD', KEYS[7] .. 'twice', id) end
  if waits and not is_ready and before == key and
    redis.call('ZLEXCOUNT', KEYS[7] .. 'slots', '[' .. apart, '(' .. apart .. '!') == 0 then
    redis.call('ZADD', KEYS[7] .. 'slots', 0, apart)
    return nil, key
  end
  if waits or is_ready or before == key then return end
  if member then stand_up(id, member) end
  if key then sit_apart(id, '', key) end
  return before, key
end

local function hold(now, ids, keys)
  local freed, fuller, in_ready = {}, {}, redis.call('ZMSCORE', KEYS[1], unpack(ids))
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))) do
    local less, more = hold_one(ids[n], member, keys[n], in_ready[n])
    if less then freed[less] = (freed[less] or 0) + 1 end
    if more then fuller[more] = true end
  end
  for key in pairs(fuller) do shrink(key); freed[key] = freed[key] or 1 end
  return judge(now, freed)  -- who has left ready may wait for another thing than the line did
end
