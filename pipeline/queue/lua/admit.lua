-- Stands after `write_down.lua`.

-- Slots of a key for those in line; so many may be free. `before`: what the first waited for.
local function call_up(now, key, count, before, to)
  local known, from, line, seated, state = look_at(key), 0, nil, nil, nil
  repeat
    local name, size = KEYS[7] .. 'waits', from + count + 1
    line = redis.call('ZRANGEBYLEX', name, known.low, known.high, 'LIMIT', from, size)
    seated, state = seat(now, known, line, to)
    for n = 1, seated do to.left[#to.left + 1] = line[n] end
    from = from + seated
  until state or #line < size
  stand(to, key, state, before)
end

-- Give slots of these keys (key → how many may have become free) to those in line; whether anybody
-- got one. `only` FULL: of those keys whose first in line waits for a slot.
local judge
function judge(now, keys, only)
  local to, names = nothing(), names_of(keys)
  if #names == 0 or redis.call('EXISTS', KEYS[7] .. 'keys') == 0 then return false end
  for n, score in ipairs(redis.call('ZMSCORE', KEYS[7] .. 'keys', unpack(names))) do
    local before = score and tonumber(score)
    if before and (before == only or not only) then
      call_up(now, names[n], keys[names[n]], before, to)
    end
  end
  local again = write_down(to)
  return next(again) and judge(now, again) or #to.ready > 0
end
