-- Stands after `merge.lua` in front of the lease script.

-- What was popped and not taken goes back, each key's mark to where it belongs by now.
local function settle(now, work, from, streams)
  local ready, delayed, states, gone, spent = {}, {}, {}, {}, {}
  for i = from, #work do
    local stream = streams[work[i][2]]
    if stream and stream.taken > 0 then
      local member = first_of(stream)
      local limit = string.sub(member, string.find(member, ' ', 1, true) + 1)
      stream.state = judge_next(now, stream, limit)
    end
    if not stream or (stream.state or MAY_RUN) == MAY_RUN then
      ready[#ready + 1], ready[#ready + 2] = work[i][1], work[i][2]
    end
  end
  for mark, stream in pairs(streams) do
    local state, key = stream.state or MAY_RUN, stream.key
    if stream.taken > 0 then
      redis.call('ZREMRANGEBYRANK', KEYS[7] .. 'waits:' .. key, 0, stream.taken - 1)
    end
    if stream.has_spent then spent[#spent + 1] = key; spent[#spent + 1] = exact(stream.spent) end
    if state == 0 then gone[#gone + 1] = key end
    if state >= FULL then states[#states + 1] = state; states[#states + 1] = key end
    if state > FULL then delayed[#delayed + 1] = state; delayed[#delayed + 1] = mark end
  end
  each('ZADD', KEYS[1], ready); each('ZADD', KEYS[2], delayed)
  each('ZADD', KEYS[7] .. 'keys', states); each('ZREM', KEYS[7] .. 'keys', gone)
  each('HSET', KEYS[7] .. 'spent', spent)
end
