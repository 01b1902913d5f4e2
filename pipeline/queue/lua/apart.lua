-- Stands after `seats.lua` in front of the scripts that put jobs where they wait.

-- From now on some jobs have rates. Who has a slot with a place in the order claims a token, so who
-- is leased gives up that place: here once, then whenever jobs are leased.
local function set_apart()
  for _, id in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
    local member = redis.call('HGET', KEYS[7] .. 'of', id)
    local key, place = parts_of(member or '')
    local waits = key and (redis.call('ZSCORE', KEYS[1], id) or
      redis.call('ZSCORE', KEYS[7] .. 'waits', member))
    if key and place ~= '-' and not waits then sit_apart(id, member, key) end
  end
end
