-- Stands in front of every script: what they share. Scripts that `place` have ready, delayed,
-- priority and wake as KEYS 1-4.

-- The instant: Redis's own clock ('', in production), or the one that a test gives.
local function now_ms(instant)
  if instant ~= '' then return tonumber(instant) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- pipeline/domain/priority.py: ready_score.
local function ready_score(priority, due) return (9 - priority) * 1e13 + due end

local function each(command, key, words)
  if #words > 0 then redis.call(command, key, unpack(words)) end
end

local function head_of(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end

-- At most one token: whoever takes it looks, and hands on what it leaves (lease.lua).
local function wake(list)
  if redis.call('LLEN', list) == 0 then redis.call('RPUSH', list, '1') end
end

-- Put entries (id, due ms, priority, …) into ready or delayed, each into one of them only; wake if
-- something is ready, or is due sooner than what sleeping workers have set their timers to.
local function place(now, entries)
  local ready, due_ids, delayed, late_ids, odd = {}, {}, {}, {}, {}
  local head = head_of(KEYS[2])
  for i = 1, #entries, 3 do
    local id, due, priority = entries[i], tonumber(entries[i + 1]), tonumber(entries[i + 2])
    if due <= now then
      due_ids[#due_ids + 1] = id
      ready[#ready + 1] = ready_score(priority, due); ready[#ready + 1] = id
    else
      late_ids[#late_ids + 1] = id
      delayed[#delayed + 1] = due; delayed[#delayed + 1] = id
      if priority ~= 5 then odd[#odd + 1] = id; odd[#odd + 1] = priority end
    end
  end
  -- A write that takes memory comes first: a full Redis refuses all of it, not a half. Each set is
  -- cleared before the other is filled: a job named twice, due and not due, is not lost to both.
  each('ZADD', KEYS[1], ready); each('ZREM', KEYS[2], due_ids); each('HDEL', KEYS[3], due_ids)
  each('ZADD', KEYS[2], delayed); each('ZREM', KEYS[1], late_ids); each('HDEL', KEYS[3], late_ids)
  each('HSET', KEYS[3], odd)
  if #ready > 0 or #delayed > 0 and head_of(KEYS[2]) < (head or math.huge) then wake(KEYS[4]) end
end
