-- Stands after `arrive.lua` in front of the lease script.

-- Move what is due from delayed to ready, or into line for its limit key. A mark is due when its
-- key has a token.
local function promote(now)
  local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1000)
  local ids, ready, keyed, keyed_ids, touched = {}, {}, {}, {}, {}
  for i = 1, #due, 2 do ids[#ids + 1] = due[i] end
  for n, odd in ipairs(redis.call('HMGET', KEYS[3], unpack(ids))) do
    local id, words = ids[n], odd or '5'
    local priority, limit, key = string.match(words, '^(%d) ?(%S* ?%S* ?%S*) ?(.*)$')
    local score = ready_score(tonumber(priority), due[2 * n])
    if string.byte(id) == 61 then
      touched[string.sub(id, 2)] = 1
    elseif key == '' then
      ready[#ready + 1] = score; ready[#ready + 1] = id
    else
      keyed[id], keyed_ids[#keyed_ids + 1] = member_of(key, score, id, limit), id
    end
  end
  -- A write that only frees comes first: a Redis whose memory is full then allows the others.
  each('ZREM', KEYS[2], ids); each('HDEL', KEYS[3], ids); each('ZADD', KEYS[1], ready)
  if next(touched) or #keyed_ids > 0 then settle() end
  if #keyed_ids > 0 then leave(keyed_ids, keyed, {}, touched) end
  arrive(now, keyed, touched)
end
