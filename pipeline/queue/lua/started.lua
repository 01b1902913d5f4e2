-- Stands after `limits.lua`. Who is leased takes a token where that is needed, not in the lease: it
-- says in "started" who was leased and when, "=<ms> <job id> … ", and what asks for tokens, or ends
-- leases, takes them first, as of then.

-- Take the tokens of those that have started, who had claims to them: key → how many.
local function settle()
  local ids, instants, claims, spent, counts, now = {}, {}, {}, {}, {}, nil
  local text = redis.call('GET', KEYS[7] .. 'started')
  if not text then return counts end
  redis.call('DEL', KEYS[7] .. 'started')
  for word in string.gmatch(text, '%S+') do
    if string.byte(word) == 61 then now = tonumber(string.sub(word, 2))
    else ids[#ids + 1], instants[#ids + 1] = word, now end
  end
  for n, member in ipairs(redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))) do
    local blank = member and string.find(member, ' ', 1, true)
    local is_in_order = blank and string.byte(member, blank + 1) ~= 45
    local limit = is_in_order and string.sub(member, blank + 18 + #ids[n]) or '0 0 0'
    local _, interval, burst = numbers_of(limit)
    if interval > 0 then
      local key = string.sub(member, 1, blank - 1)
      local till = spent[key] or tonumber(redis.call('HGET', KEYS[7] .. 'spent', key) or 0)
      spent[key] = spend(instants[n], till, interval, burst, 1)
      counts[key], claims[#claims + 1] = (counts[key] or 0) + 1, member
    end
  end
  local words = {}
  for key, till in pairs(spent) do words[#words + 1] = key; words[#words + 1] = exact(till) end
  each('ZREM', KEYS[7] .. 'claims', claims); each('HSET', KEYS[7] .. 'spent', words)
  return counts
end
