-- Stands after `start.lua` in front of the lease script.

-- Take up to `limit` of ready, those of rates as far as there are tokens: their ids, and whether
-- there may be more. Who starts may let others into ready, beside whom nobody must fall asleep.
local function take(now, limit, has_rates)
  local ids = {}
  for _ = 1, limit > 0 and 8 or 0 do
    local asked, popped = limit - #ids, {}
    local found = redis.call('ZPOPMIN', KEYS[1], asked)
    for i = 1, #found, 2 do popped[#popped + 1] = found[i] end
    if not has_rates then return popped, false end
    local may = #popped > 0 and start(now, popped, ids)
    if #ids == limit or #popped < asked and not may then return ids, false end
  end
  return ids, limit > 0
end
