-- Lease: move what is due from delayed to ready, then give up to `limit` of ready in order.
-- The same lease id again gives the same jobs: a lost reply orphans no lease (R8).
-- KEYS   1 to 7 as in limits.lua  8 this worker's grant  9 paused  10 queue's own limit  11 active
-- ARGV   1 instant  2 limit (≤ 1000)  3 ttl ms  4 worker  5 lease id
-- Reply  {now ms, next due ms or -1, "open" | "paused", job id, …}; {} if limits are in use:
--        nothing was done, `lease_limited` does it
local grant, paused, own, active = unpack(redis.call('MGET', unpack(KEYS, 8, 11)))
if own or active then return {} end
local now, limit, ttl = now_ms(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reply, members = {now, -1, paused and 'paused' or 'open'}, {}

local function promote()
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
local granted = string.gmatch(grant or '', '%S+')
if granted() == ARGV[5] then
  for id in granted do reply[#reply + 1] = id end
elseif not paused then
  promote()
  local popped = redis.call('ZPOPMIN', KEYS[1], limit)
  for i = 1, #popped, 2 do
    redis.call('SET', KEYS[6] .. popped[i], ARGV[4] .. ' ' .. ARGV[5], 'PX', ttl)
    members[i], members[i + 1], reply[#reply + 1] = now + ttl, popped[i], popped[i]
  end
  each('ZADD', KEYS[5], members)
  local words = {ARGV[5], unpack(reply, 4)}
  if #popped > 0 then redis.call('SET', KEYS[8], table.concat(words, ' '), 'PX', ttl) end
end
if not paused then reply[2] = head_of(KEYS[2]) or -1 end
-- Took its fill: another shall look at what is left, or set its timer to the next due job.
if #members == 2 * limit and (reply[2] > 0 or head_of(KEYS[1])) then wake(KEYS[4]) end
return reply
