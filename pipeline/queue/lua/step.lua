-- Stands after `streams.lua` in front of the lease script.

-- Look at the next job of a stream; what becomes of its mark: as `verdict`, or 0 if there is none.
local function look(now, streams, n)
  local member, state = first_of(streams, n), 0
  if member then
    local blank = string.find(member, ' ', 1, true)
    local limit = string.sub(member, blank + 1)
    local _, interval = numbers_of(limit)
    streams.id[n] = string.sub(member, 1, blank - 1)
    streams.rate[n] = interval > 0 and limit
    if interval > 0 and not streams.spent[n] then
      local spent = redis.call('HGET', KEYS[7] .. 'spent', streams.keys[n])
      streams.spent[n] = tonumber(spent or 0)
    end
    state = verdict(now, limit, streams.running[n] + streams.taken[n], streams.spent[n])
  end
  streams.state[n] = state
  return state
end

-- Take the job that was looked at: its id, and the ms of its token if it takes one.
local function step(now, streams, n)
  local id, rate = streams.id[n], streams.rate[n]
  streams.taken[n] = streams.taken[n] + 1
  if not rate then return id end
  local _, interval, burst = numbers_of(rate)
  streams.spent[n], streams.has_spent[n] = spend(now, streams.spent[n], interval, burst, 1), true
  return id, exact(interval)
end
