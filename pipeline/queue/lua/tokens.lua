-- Stands after `reorder.lua` in front of `take.lua`.

-- Take a token of a key; whether there was one. `spent`: what is known of keys by now.
local function take_token(now, spent, key, interval, burst)
  spent[key] = spent[key] or tonumber(redis.call('HGET', KEYS[7] .. 'spent', key) or 0)
  local there = tokens_of(now, spent[key], interval, burst, 0)
  if there > 0 then spent[key] = spend(now, spent[key], interval, burst, 1) end
  return there > 0
end

-- Of popped jobs those that start now, into `ids`; whether others got slots. Theirs have no place
-- in the order any more and so claim no token; a rate takes one (who brought other numbers claimed
-- more, or less, than is taken). Without a token a job is in line again.
local function start(now, popped, ids)
  local spent, touched, back, old, slots, of, words = {}, {}, {}, {}, {}, {}, {}
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(popped))) do
    local id, key, place, _, limit = popped[n], parts_of(member or '')
    local _, interval, burst = numbers_of((place or '-') ~= '-' and limit or '0 0 0')
    if (place or '-') == '-' then ids[#ids + 1] = id
    elseif interval == 0 or take_token(now, spent, key, interval, burst) then
      local apart = key .. ' - ' .. id .. (interval == 0 and '' or ' ' .. exact(interval))
      ids[#ids + 1], old[#old + 1] = id, member
      slots[#slots + 1] = 0; slots[#slots + 1] = apart; of[#of + 1] = id; of[#of + 1] = apart
    else
      send_back(id, member, key)
      back[key] = 1
    end
    if key then touched[key] = (touched[key] or 0) + 1 end
  end
  for key, till in pairs(spent) do words[#words + 1] = key; words[#words + 1] = exact(till) end
  each('ZREM', KEYS[7] .. 'slots', old); each('ZADD', KEYS[7] .. 'slots', slots)
  each('HSET', KEYS[7] .. 'of', of); each('HSET', KEYS[7] .. 'spent', words)
  local may = judge(now, touched)
  return reorder(now, back) or may
end
