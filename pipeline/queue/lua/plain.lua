-- Stands in front of the lease scripts of queues in which no job has a limit key; ARGV as theirs.

-- Move what is due from delayed to ready.
local function promote(now)
  local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1000)
  local ids, ready = {}, {}
  for i = 1, #due, 2 do ids[#ids + 1] = due[i] end
  local odd = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids))
  for n, id in ipairs(ids) do
    ready[2 * n - 1], ready[2 * n] = ready_score(tonumber(odd[n]) or 5, due[2 * n]), id
  end
  -- A write that only frees comes first: a Redis whose memory is full then allows the others.
  each('ZREM', KEYS[2], ids); each('HDEL', KEYS[3], ids); each('ZADD', KEYS[1], ready)
end

-- Lease the first `count` of ready, and add their ids to `reply`; how many.
local function give(now, count, reply)
  local popped, owner = redis.call('ZPOPMIN', KEYS[1], count), ARGV[4] .. ' ' .. ARGV[5]
  if #popped == 0 then return 0 end
  local deadline, members = exact(now + ARGV[3]), {}
  for i = 1, #popped, 2 do
    redis.call('SET', KEYS[6] .. popped[i], owner, 'PX', ARGV[3])
    members[i], members[i + 1], reply[#reply + 1] = deadline, popped[i], popped[i]
  end
  redis.call('ZADD', KEYS[5], unpack(members))
  local words = {ARGV[5], unpack(reply, 4)}
  redis.call('SET', KEYS[8], table.concat(words, ' '), 'PX', ARGV[3])
  return #popped / 2
end
