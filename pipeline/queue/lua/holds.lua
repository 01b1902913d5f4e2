-- Stands after `waits.lua` in front of the scripts that begin or end leases. "held" has the limit
-- key of every leased job that has one (and the ms of the token that it took, if it took one);
-- "running" how many of "held" have this key.

-- These jobs are leased, each under its key (or false); nil: are not leased any more. The same said
-- twice counts once. Which keys may have more room now than was thought.
local function hold(ids, keys, tokens)
  local changes, gone, held, names, counts, zero, fewer, freed = {}, {}, {}, {}, {}, {}, {}, {}
  for n, text in ipairs(redis.call('HMGET', KEYS[7] .. 'held', unpack(ids))) do
    local blank, key = text and string.find(text, ' ', 1, true), keys and keys[n]
    local before = blank and string.sub(text, 1, blank - 1) or text
    if key and before == key then fewer[#fewer + 1] = key end
    if before and before ~= key then
      changes[before], freed[before] = (changes[before] or 0) - 1, true
      if not key then gone[#gone + 1] = ids[n] end
    end
    if key and before ~= key then
      changes[key] = (changes[key] or 0) + 1
      held[#held + 1] = ids[n]
      held[#held + 1] = tokens and tokens[n] and key .. ' ' .. tokens[n] or key
    end
  end
  for key in pairs(changes) do names[#names + 1] = key end
  if #names == 0 then return fewer end
  for n, before in ipairs(redis.call('HMGET', KEYS[7] .. 'running', unpack(names))) do
    local count = (tonumber(before) or 0) + changes[names[n]]
    if freed[names[n]] then fewer[#fewer + 1] = names[n] end
    if count > 0 then counts[#counts + 1] = names[n]; counts[#counts + 1] = count
    else zero[#zero + 1] = names[n] end
  end
  each('HDEL', KEYS[7] .. 'held', gone); each('HDEL', KEYS[7] .. 'running', zero)
  each('HSET', KEYS[7] .. 'held', held); each('HSET', KEYS[7] .. 'running', counts)
  return fewer
end
