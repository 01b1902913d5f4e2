-- Stands after `merge.lua` in front of the lease script.

-- What was popped and not taken, from `work` on, goes back; each mark to where it belongs by now.
local function settle(work, from, streams)
  local ready, delayed, states, gone, spent = {}, {}, {}, {}, {}
  for i = from, #work.members do
    ready[#ready + 1], ready[#ready + 2] = work.scores[i], work.members[i]
  end
  for n, key in ipairs(streams.keys) do
    local state = streams.state[n] or MAY_RUN
    if streams.taken[n] > 0 then
      redis.call('ZREMRANGEBYRANK', KEYS[7] .. 'waits:' .. key, 0, streams.taken[n] - 1)
    end
    if streams.has_spent[n] then
      spent[#spent + 1] = key; spent[#spent + 1] = exact(streams.spent[n])
    end
    if state == 0 then gone[#gone + 1] = key
    elseif state ~= MAY_RUN then
      states[#states + 1] = state; states[#states + 1] = key
      if state ~= FULL then delayed[#delayed + 1] = state; delayed[#delayed + 1] = '=' .. key end
    end
  end
  each('ZADD', KEYS[1], ready); each('ZADD', KEYS[2], delayed)
  each('ZADD', KEYS[7] .. 'keys', states); each('ZREM', KEYS[7] .. 'keys', gone)
  each('HSET', KEYS[7] .. 'spent', spent)
end
