-- Stands after `reorder.lua`.

-- Of popped jobs those that have a rate: their keys and limits (of each number), and how many of
-- each key.
local function rated(members)
  local keys, limits, counts = {}, {}, {}
  for n, member in ipairs(members) do
    local blank = member and string.find(member, ' ', 1, true)
    if blank and string.byte(member, blank + 1) ~= 45 then
      local limit = string.sub(member, string.find(member, ' ', blank + 17, true) + 1)
      local _, interval = numbers_of(limit)
      if interval > 0 then
        local key = string.sub(member, 1, blank - 1)
        keys[n], limits[n], counts[key] = key, limit, (counts[key] or 0) + 1
      end
    end
  end
  return keys, limits, counts
end

-- Until when the tokens of these keys are spent: key → ms.
local function spent_of(names)
  local spent = {}
  if #names == 0 then return spent end
  for n, till in ipairs(redis.call('HMGET', KEYS[7] .. 'spent', unpack(names))) do
    spent[names[n]] = tonumber(till or 0)
  end
  return spent
end
