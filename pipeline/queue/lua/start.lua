-- Stands after `tokens.lua`.

-- Of popped jobs those that start now, into `ids`; whether others got slots. A rate takes the token
-- that its job had a claim to (who brought other numbers claimed more, or less, than is taken).
-- Without a token a job is in line again.
local function start(now, popped, ids)
  local members = redis.call('HMGET', KEYS[7] .. 'of', unpack(popped))
  local keys, limits, counts = rated(members)
  local spent, back, claims, words = spent_of(names_of(counts)), {}, {}, {}
  for n, id in ipairs(popped) do
    local key, is_there = keys[n], true
    if key then
      local _, interval, burst = numbers_of(limits[n])
      local after = spend(now, spent[key], interval, burst, 1)
      is_there = after - now <= interval * burst + 0.01
      if is_there then claims[#claims + 1], spent[key] = members[n], after
      else
        send_back(id, members[n], key)
        back[key] = 1
      end
    end
    if is_there then ids[#ids + 1] = id end
  end
  for key, till in pairs(spent) do words[#words + 1] = key; words[#words + 1] = exact(till) end
  each('ZREM', KEYS[7] .. 'claims', claims); each('HSET', KEYS[7] .. 'spent', words)
  local may = judge(now, counts)
  return reorder(now, back) or may
end
