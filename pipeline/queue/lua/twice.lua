-- Stands after `line.lua`.

-- Of these jobs those that run and wait: id → true.
local function twice_of(ids)
  local found = {}
  if #ids == 0 or redis.call('EXISTS', KEYS[7] .. 'twice') == 0 then return found end
  for n, is in ipairs(redis.call('SMISMEMBER', KEYS[7] .. 'twice', unpack(ids))) do
    found[ids[n]] = is == 1 or nil
  end
  return found
end

-- The slot of a lease beside where its job waits; how many there were (one or none).
local function take_apart(key, id)
  local apart = key .. ' - ' .. id
  return redis.call('ZREMRANGEBYLEX', KEYS[7] .. 'slots', '[' .. apart, '(' .. apart .. '!')
end

-- Of these jobs those that are in line: id → true.
local function in_line_of(ids)
  local found, keyed, members = {}, {}, {}
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))) do
    if member then keyed[#keyed + 1] = ids[n]; members[#members + 1] = member end
  end
  if #keyed == 0 then return found end
  for n, score in ipairs(redis.call('ZMSCORE', KEYS[7] .. 'waits', unpack(members))) do
    found[keyed[n]] = score and true or nil
  end
  return found
end
