-- Stands after `limits.lua` in front of the scripts that look at the limit of a queue.

-- How many leases and tokens the queue's own limit leaves, and when to look again for a token.
local function room_of(now, own)
  local most, interval, burst = numbers_of(own)
  local room = {leases = math.huge, tokens = math.huge, again = 0, spent = 0}
  if most > 0 then room.leases = most - redis.call('ZCARD', KEYS[5]) end
  if interval > 0 then
    room.spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', '') or 0)
    room.tokens, room.again = tokens_of(now, room.spent, interval, burst, 0)
  end
  return room
end

-- The room after so many leases, written down.
local function spent_by(now, own, room, count)
  local _, interval, burst = numbers_of(own)
  if interval > 0 then
    local spent = exact(spend(now, room.spent, interval, burst, count))
    redis.call('HSET', KEYS[7] .. 'spent', '', spent)
  end
  return room_of(now, own)
end

-- When a worker that found no more should look again; -1: when it is woken, or never.
local function next_look(room)
  local head = head_of(KEYS[2]) or -1
  if not room then return head end
  if room.leases <= 0 then return -1 end
  if room.tokens >= 1 then return head end
  if redis.call('EXISTS', KEYS[1]) == 1 then return room.again end
  return head < 0 and -1 or math.max(head, room.again)
end
