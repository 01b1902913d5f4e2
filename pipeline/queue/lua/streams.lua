-- Stands after `ended.lua` in front of the lease script: ready, where some members are marks of
-- limit keys ("=<key>", at the score of the first job that waits for it).

-- What is known of the keys whose marks were popped, each a stream of jobs: mark → its number, and
-- a list of each thing (a table for each stream would cost more).
local function streams_of(popped, asked)
  local keys, number, taken = {}, {}, {}
  for i = 1, #popped, 2 do
    if string.byte(popped[i]) == 61 then
      keys[#keys + 1] = string.sub(popped[i], 2)
      number[popped[i]], taken[#keys] = #keys, 0
    end
  end
  local running = #keys > 0 and redis.call('HMGET', KEYS[7] .. 'running', unpack(keys)) or {}
  for n in ipairs(keys) do running[n] = tonumber(running[n]) or 0 end
  return {
    keys = keys, number = number, running = running, taken = taken,
    chunk = math.ceil(asked / math.max(1, #keys)), jobs = {}, at = {}, score = {}, id = {},
    rate = {}, spent = {}, has_spent = {}, state = {}, is_whole = {},
  }
end

-- The first job of a stream that is not taken; nil if there is none.
local function first_of(streams, n)
  local jobs, at = streams.jobs[n], streams.at[n]
  if not jobs or at > #jobs and not streams.is_whole[n] then
    local taken, count = streams.taken[n], math.min(streams.chunk * (jobs and 4 or 1) + 1, 1000)
    jobs, at = redis.call('ZRANGE', KEYS[7] .. 'waits:' .. streams.keys[n], taken,
      taken + count - 1, 'WITHSCORES'), 1
    streams.jobs[n], streams.is_whole[n] = jobs, #jobs < 2 * count
  end
  streams.at[n], streams.score[n] = at + 2, jobs[at + 1]
  return jobs[at]
end
