-- Stands after `ended.lua` in front of the lease script: ready, where some members are marks of
-- limit keys ("=<key>", at the score of the first job that waits for it).

-- What is known of the keys whose marks were popped: mark → its stream of jobs.
local function streams_of(popped, asked)
  local keys, streams = {}, {}
  for i = 1, #popped, 2 do
    if string.byte(popped[i]) == 61 then keys[#keys + 1] = string.sub(popped[i], 2) end
  end
  if #keys == 0 then return nil end
  local running = redis.call('HMGET', KEYS[7] .. 'running', unpack(keys))
  local chunk = math.ceil(asked / #keys) + 1
  for n, key in ipairs(keys) do
    streams['=' .. key] = {key = key, running = tonumber(running[n]) or 0, taken = 0, at = 1,
      jobs = {}, chunk = chunk}
  end
  return streams
end

-- The first job of a stream that is not taken: its member and score; nil if there is none.
local function first_of(stream)
  if stream.at > #stream.jobs then
    stream.jobs, stream.at = redis.call('ZRANGE', KEYS[7] .. 'waits:' .. stream.key, stream.taken,
      stream.taken + stream.chunk - 1, 'WITHSCORES'), 1
    stream.chunk = math.min(4 * stream.chunk, 1000)
  end
  return stream.jobs[stream.at], stream.jobs[stream.at + 1]
end

-- May a job with this limit run after what was taken of its stream: as `verdict`.
local function judge_next(now, stream, limit)
  local _, interval = numbers_of(limit)
  if interval > 0 and not stream.spent then
    stream.spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', stream.key) or 0)
  end
  return verdict(now, limit, stream.running, stream.spent)
end
