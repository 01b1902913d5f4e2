-- Stands after `reorder.lua`: where jobs come from.

-- A job waits no more where it did, nor has it a slot. Only a lease keeps one until it ends, unless
-- its job is due under another key or none.
local function leave_one(id, member, new, is_leased, is_late)
  local key = parts_of(member)
  local slots = redis.call('ZREM', KEYS[7] .. 'slots', member) + take_apart(key, id)
  redis.call('ZREM', KEYS[7] .. 'waits', member); redis.call('ZREM', KEYS[7] .. 'claims', member)
  local keeps = is_leased and slots > 0 and (is_late or new and parts_of(new) == key)
  local apart = key .. ' - ' .. id
  if keeps then redis.call('ZADD', KEYS[7] .. 'slots', 0, apart) end
  if keeps and not new then redis.call('HSET', KEYS[7] .. 'of', id, apart)
  elseif not new then redis.call('HDEL', KEYS[7] .. 'of', id) end
  return key
end

-- So do these. `jobs`: id → its new member, of those that are due and have a key; `is_late`: of
-- those that are not due. `touched`: keys that are to be judged, key → how many have left.
local function leave(ids, jobs, is_late, touched)
  local twice, once, leased = {}, {}, redis.call('ZMSCORE', KEYS[5], unpack(ids))
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))) do
    local id = ids[n]
    if not leased[n] then once[#once + 1] = id
    elseif jobs[id] then twice[#twice + 1] = id end
    if member then
      local key = leave_one(id, member, jobs[id], leased[n], is_late[id])
      touched[key] = (touched[key] or 0) + 1
    end
  end
  if next(twice_of(once)) then redis.call('SREM', KEYS[7] .. 'twice', unpack(once)) end
  each('SADD', KEYS[7] .. 'twice', twice)
end
