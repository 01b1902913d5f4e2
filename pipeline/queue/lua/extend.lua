-- Extend: write leases, new or over another's. MongoDB was asked first and knows whose the attempt
-- is, so a wipe, a second lease and a failover all heal here (R8, H20).
-- KEYS   1 to 7 as in limits.lua  8 the queue's own limit  9 active
-- ARGV   1 instant  2 ttl ms, then for each job: id, "<worker> <lease id>", limit key or ""
-- Reply  "extended"
local now, ids, members, keys, has_keys = now_ms(ARGV[1]), {}, {}, {}, false
for i = 3, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
  keys[#ids] = ARGV[i + 2] ~= '' and ARGV[i + 2]
  has_keys = has_keys or keys[#ids]
  members[#members + 1] = now + tonumber(ARGV[2]); members[#members + 1] = ARGV[i]
end
-- A write that only frees comes first: a Redis whose memory is full then allows the others.
redis.call('ZREM', KEYS[5], unpack(ids))
redis.call('ZADD', KEYS[5], unpack(members))
for i = 3, #ARGV, 3 do redis.call('SET', KEYS[6] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2]) end
if has_keys or redis.call('EXISTS', KEYS[9]) == 1 then
  if has_keys then redis.call('SET', KEYS[9], 'keys', 'NX') end
  settle()
  local head = head_of(KEYS[2])
  if hold(now, ids, keys) or is_sooner(head) then wake(KEYS[4]) end
end
return 'extended'
