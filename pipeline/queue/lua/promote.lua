-- Stands after `room.lua` in front of the lease script.

-- Move what is due from delayed to ready, or to where it waits for its limit key. A mark is due
-- when its key has a token: the key is judged.
local function promote(now)
  local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1000)
  local ids, ready, keyed, touched, keys = {}, {}, {}, {}, {}
  for i = 1, #due, 2 do ids[#ids + 1] = due[i] end
  local odd = #ids > 0 and redis.call('HMGET', KEYS[3], unpack(ids))
  for n, id in ipairs(ids) do
    local priority, text = string.match(odd[n] or '5', '^(%d) ?(.*)$')
    local score = ready_score(tonumber(priority), due[2 * n])
    if string.byte(id) == 61 then
      touched[string.sub(id, 2)] = true
    elseif text == '' then
      ready[#ready + 1] = score; ready[#ready + 1] = id
    else
      for _, word in ipairs({id, score, text}) do keyed[#keyed + 1] = word end
    end
  end
  -- A write that only frees comes first: a Redis whose memory is full then allows the others.
  each('ZREM', KEYS[2], ids); each('HDEL', KEYS[3], ids); each('ZADD', KEYS[1], ready)
  wait_for_keys(keyed, touched)
  for key in pairs(touched) do keys[#keys + 1] = key end
  judge(now, keys)
end
