-- Stands after `settle_up.lua` in front of the lease script.

-- Take up to `limit` of ready: their ids. Who may need a token is written down, and asked for it at
-- once only where somebody waits for a claim to go; or before it is too much for one command.
local function take(now, limit, has_rates)
  local ids, found = {}, limit > 0 and redis.call('ZPOPMIN', KEYS[1], limit) or {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  if #ids == 0 or not has_rates then return ids end
  local words = '=' .. now .. ' ' .. table.concat(ids, ' ') .. ' '
  local size = redis.call('APPEND', KEYS[7] .. 'started', words)
  local is_waited_for = redis.call('ZCOUNT', KEYS[7] .. 'keys', CLAIMED, CLAIMED) > 0
  if is_waited_for or size > 8000 then settle_up(now, is_waited_for) end
  return ids
end
