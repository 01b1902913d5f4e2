-- Stands after `line.lua` in front of the scripts that look.

-- How many of a key's slots are leased. Who is in ready mostly stands at the end of their order:
-- of more than a hundred slots this is a guess where urgent ones are in ready, and others leased.
local function running_of(key)
  local low, high = bounds_of(key)
  local running, from = redis.call('ZLEXCOUNT', KEYS[7] .. 'slots', low, high), 0
  repeat
    local ids, in_ready = {}, 0
    local slots = redis.call('ZREVRANGEBYLEX', KEYS[7] .. 'slots', high, '[' .. key .. ' 0',
      'LIMIT', from, 100)
    for n, member in ipairs(slots) do ids[n] = select(3, parts_of(member)) end
    for _, score in ipairs(#ids > 0 and redis.call('ZMSCORE', KEYS[1], unpack(ids)) or {}) do
      if score then in_ready = in_ready + 1 end
    end
    running, from = running - in_ready, from + 100
  until in_ready < 100 or from >= 1000
  return running
end
