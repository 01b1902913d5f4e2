-- Stands in front of every script: what they share.

-- The instant: Redis's own clock ('', in production), or the one that a test gives in ms.
local function now_us(instant)
  if instant ~= '' then return instant * 1000 end
  local time = redis.call('TIME')
  return time[1] * 1e6 + time[2]
end

local function now_ms(instant) return math.floor(now_us(instant) / 1000) end

-- pipeline/domain/priority.py: ready_score.
local function ready_score(priority, due) return (9 - priority) * 1e13 + due end

local function each(command, key, words)
  if #words > 0 then redis.call(command, key, unpack(words)) end
end

local function exact(number) return string.format('%.17g', number) end

local function head_of(key) return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end

-- At most one token: whoever takes it looks, and hands on what it leaves (lease.lua).
local function wake(list)
  if redis.call('LLEN', list) == 0 then redis.call('RPUSH', list, '1') end
end
