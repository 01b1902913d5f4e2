-- Stands after `admit.lua` in front of the scripts that end leases or begin them.
local function stand_up(id, member)
  for _, name in ipairs({'slots', 'claims'}) do redis.call('ZREM', KEYS[7] .. name, member) end
  redis.call('HDEL', KEYS[7] .. 'of', id)
end

-- A slot that stands in no order: of who runs, no urgent one may have the place.
local function sit_apart(id, member, key)
  local limit = select(4, parts_of(member))
  local apart = key .. ' - ' .. id .. (limit and ' ' .. limit or '')
  redis.call('ZREM', KEYS[7] .. 'slots', member)
  redis.call('ZADD', KEYS[7] .. 'slots', 0, apart); redis.call('HSET', KEYS[7] .. 'of', id, apart)
end

-- The lease of a job that waits, too, has ended: whether that is all; its key if it sat apart.
local function free_one(id, member)
  if redis.call('ZSCORE', KEYS[1], id) then return true end
  if not redis.call('ZSCORE', KEYS[7] .. 'waits', member) then return false end
  local key = parts_of(member)
  return true, take_apart(key, id) > 0 and key
end

-- These leases have ended: their slots are free. Key → how many.
local function free(ids)
  local gone, slots, keys, twice = {}, {}, {}, twice_of(ids)
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))) do
    if member then
      local is_all, key
      if twice[ids[n]] then is_all, key = free_one(ids[n], member) end
      if not is_all then
        gone[#gone + 1] = ids[n]; slots[#slots + 1] = member
        key = string.sub(member, 1, string.find(member, ' ', 1, true) - 1)
      end
      if key then keys[key] = (keys[key] or 0) + 1 end
    end
  end
  each('HDEL', KEYS[7] .. 'of', gone); each('ZREM', KEYS[7] .. 'slots', slots)
  if next(twice) then redis.call('SREM', KEYS[7] .. 'twice', unpack(ids)) end
  return keys
end
