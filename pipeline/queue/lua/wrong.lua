-- Stands after `ended.lua` in front of `recount.lua`: what may be wrong in a page of each, put
-- right; the keys that are to be judged go into `touched`.
local wrong = {}

-- Who has a slot is leased or in ready; whose jobs are in line is in "keys", or nobody calls them.
function wrong.of(ids, members, touched)
  local lines, ready = in_line_of(ids), redis.call('ZMSCORE', KEYS[1], unpack(ids))
  local leased, known = redis.call('ZMSCORE', KEYS[5], unpack(ids)), {}
  for n, id in ipairs(ids) do
    local key = parts_of(members[n])
    if not (ready[n] or leased[n] or lines[id]) then
      stand_up(id, members[n]); touched[key] = 1
    elseif lines[id] and not known[key] then
      known[key] = true
      if not redis.call('ZSCORE', KEYS[7] .. 'keys', key) then
        redis.call('ZADD', KEYS[7] .. 'keys', FULL, key); touched[key] = 1
      end
    end
  end
end

function wrong.slots(members, _, touched)
  for _, member in ipairs(members) do
    local key, place, id = parts_of(member)
    local is_beside = place == '-' and redis.call('SISMEMBER', KEYS[7] .. 'twice', id) == 1
      and redis.call('ZSCORE', KEYS[5], id)
    if not is_beside and redis.call('HGET', KEYS[7] .. 'of', id) ~= member then
      redis.call('ZREM', KEYS[7] .. 'slots', member); touched[key] = 1
    end
  end
end

function wrong.claims(members, _, touched)
  for _, member in ipairs(members) do
    local key, _, id = parts_of(member)
    if not redis.call('ZSCORE', KEYS[1], id) then
      redis.call('ZREM', KEYS[7] .. 'claims', member); touched[key] = 1
    end
  end
end
