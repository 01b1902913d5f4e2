-- Stands after `limits.lua` in front of the scripts that change who waits for a limit key.
-- dueq:{<queue>}:limit:waits:<key> has "<job id> <limit>" at the score that it had in ready.

-- Judge keys anew and put their marks where they belong; whether one of them may run.
local function judge(now, keys)
  local may = false
  for _, key in ipairs(keys) do
    local mark, first = '=' .. key, redis.call('ZRANGE', KEYS[7] .. 'waits:' .. key, 0, 0,
      'WITHSCORES')
    if not first[1] then
      redis.call('ZREM', KEYS[1], mark); redis.call('ZREM', KEYS[2], mark)
      redis.call('ZREM', KEYS[7] .. 'keys', key)
    else
      local running = tonumber(redis.call('HGET', KEYS[7] .. 'running', key) or 0)
      local spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', key) or 0)
      local state = verdict(now, string.match(first[1], ' (.*)'), running, spent)
      redis.call('ZREM', KEYS[1], mark); redis.call('ZREM', KEYS[2], mark)
      if state == MAY_RUN then redis.call('ZADD', KEYS[1], first[2], mark); may = true end
      if state > FULL then redis.call('ZADD', KEYS[2], state, mark) end
      redis.call('ZADD', KEYS[7] .. 'keys', state, key)
    end
  end
  return may
end

-- Let due jobs (id, score, "<limit> <key>", …) wait for their keys, which are then to be judged.
local function wait_for_keys(jobs, touched)
  local limited = {}
  for i = 1, #jobs, 3 do
    local limit, key = string.match(jobs[i + 2], '^(%S+ %S+ %S+) (.*)$')
    redis.call('ZADD', KEYS[7] .. 'waits:' .. key, jobs[i + 1], jobs[i] .. ' ' .. limit)
    limited[#limited + 1] = jobs[i]; limited[#limited + 1] = jobs[i + 2]
    touched[key] = true
  end
  each('HSET', KEYS[7] .. 'of', limited)
end
