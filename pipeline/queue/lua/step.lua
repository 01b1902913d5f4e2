-- Stands after `streams.lua` in front of the lease script.

-- Take the first job of a stream if it may run: its id. `state`: what becomes of the stream's mark.
local function step(now, stream)
  local member = first_of(stream)
  if not member then stream.state = 0; return nil end
  local blank = string.find(member, ' ', 1, true)
  local id, limit = string.sub(member, 1, blank - 1), string.sub(member, blank + 1)
  stream.state = judge_next(now, stream, limit)
  if stream.state ~= MAY_RUN then return nil end
  local _, interval, burst = numbers_of(limit)
  stream.token = interval > 0 and exact(interval)
  stream.taken, stream.at, stream.running = stream.taken + 1, stream.at + 2, stream.running + 1
  if interval > 0 then
    stream.spent, stream.has_spent = spend(now, stream.spent, interval, burst, 1), true
  end
  return id
end
