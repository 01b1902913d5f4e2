-- Stands in front of the scripts that know limits. Their KEYS 1-7: ready, delayed, priority, wake,
-- leased, prefix of lease keys, prefix of the keys of limits. A limit is "<concurrency> <ms between
-- two tokens> <burst>", 0: not limited.
local MAY_RUN, FULL, CLAIMED, most_of, interval_of, burst_of = 1, 2, 3, {}, {}, {}

local function numbers_of(limit)
  if not most_of[limit] then
    local most, interval, burst = string.match(limit, '^(%S+) (%S+) (%S+)')
    most_of[limit], interval_of[limit], burst_of[limit] = most + 0, interval + 0, burst + 0
  end
  return most_of[limit], interval_of[limit], burst_of[limit]
end

-- How many ms tokens are spent in advance; at worst the bucket is empty, also by new numbers.
local function ahead_of(now, spent, interval, burst)
  return math.min(math.max(spent - now, 0), interval * burst)
end

-- What other numbers have spent beyond this bucket is forgotten, and that is written down: it would
-- be as empty at each look, for as long as those said.
local function forgiven(now, key, spent, interval, burst)
  local most = now + interval * burst
  if spent > most then redis.call('HSET', KEYS[7] .. 'spent', key, exact(most)) end
  return math.min(spent, most)
end

-- How many tokens are there beside those that are claimed, and when to look again if there are
-- none: not for each single one.
local function tokens_of(now, spent, interval, burst, claimed)
  local ahead, left = ahead_of(now, spent, interval, burst), burst - claimed
  local there = math.floor((interval * left - ahead + 0.01) / interval)
  local gathered = math.max(1, math.min(left, math.floor(10 / interval)))
  return there, now + math.max(1, math.ceil(ahead - (left - gathered) * interval - 0.01))
end

local function spend(now, spent, interval, burst, count)
  return now + ahead_of(now, spent, interval, burst) + count * interval
end
