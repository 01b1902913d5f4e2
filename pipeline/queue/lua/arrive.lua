-- Stands after `moves.lua`, in front of the scripts that put jobs into ready.

-- Each key's members, in order.
local function lines_of(jobs)
  local lines = {}
  for _, member in pairs(jobs) do
    local key = string.sub(member, 1, string.find(member, ' ', 1, true) - 1)
    lines[key] = lines[key] or {}
    table.insert(lines[key], member)
  end
  for _, line in pairs(lines) do table.sort(line) end
  return lines
end

-- These jobs (id → member) are due: each gets a slot, or is in line. So do those who were in line
-- for keys that are `touched`; whether anybody got a slot.
local function arrive(now, jobs, touched)
  local lines, to, waits, of, in_line = lines_of(jobs), nothing(), {}, {}, {}
  local keys = names_of(lines)
  local states = #keys > 0 and redis.call('ZMSCORE', KEYS[7] .. 'keys', unpack(keys)) or {}
  for n, before in ipairs(states) do
    local key, line, seated, state = keys[n], lines[keys[n]], 0, before
    if before then touched[key] = touched[key] or 1
    else
      seated, state = seat(now, look_at(key), line, to)
      if state then stand(to, key, state); in_line[key] = true end
    end
    for m = seated + 1, #line do waits[#waits + 1] = 0; waits[#waits + 1] = line[m] end
  end
  for id, member in pairs(jobs) do of[#of + 1] = id; of[#of + 1] = member end
  each('ZADD', KEYS[7] .. 'waits', waits); each('HSET', KEYS[7] .. 'of', of)
  for key in pairs(write_down(to)) do touched[key] = touched[key] or 1 end
  for key in pairs(touched) do in_line[key] = true end
  local may = judge(now, touched) or #to.ready > 0
  return reorder(now, in_line) or may
end
