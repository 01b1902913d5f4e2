-- Stands after `seats.lua`. Who is urgent takes the slot of who is not and is not leased yet.

-- The last job of a key that is in ready, and its member, if it comes after `from`. Who is found
-- leased on the way gives up its place in the order: nobody is found twice. Mostly it is the last.
local function last_in_ready(key, from)
  local _, high = bounds_of(key)
  local size = 1
  while true do
    local name, ids = KEYS[7] .. 'slots', {}
    local slots = redis.call('ZREVRANGEBYLEX', name, high, from, 'LIMIT', 0, size)
    if #slots == 0 then return nil end
    for n, member in ipairs(slots) do ids[n] = select(3, parts_of(member)) end
    for n, score in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(ids))) do
      if score then return ids[n], slots[n] end
      sit_apart(ids[n], slots[n], key)
    end
    size = math.min(2 * size, 100)
  end
end

-- Back into line; if it is leased, too, that lease keeps a slot.
local function send_back(id, member, key)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[7] .. 'slots', member); redis.call('ZREM', KEYS[7] .. 'claims', member)
  redis.call('ZADD', KEYS[7] .. 'waits', 0, member)
  redis.call('ZADD', KEYS[7] .. 'keys', 'NX', FULL, key)
  if redis.call('ZSCORE', KEYS[5], id) then
    redis.call('ZADD', KEYS[7] .. 'slots', 0, key .. ' - ' .. id)
    redis.call('SADD', KEYS[7] .. 'twice', id)
  end
end
