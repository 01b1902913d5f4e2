-- Extend: write leases, new or over another's. MongoDB was asked first and knows whose the attempt
-- is, so a wipe, a second lease and a failover all heal here (R8, H20).
-- KEYS   1 leased  2 prefix of lease keys
-- ARGV   1 instant  2 ttl ms, then for each job: id, "<worker> <lease id>"
-- Reply  "extended"
local ids, members, deadline = {}, {}, now_ms(ARGV[1]) + tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
  members[#members + 1] = deadline; members[#members + 1] = ARGV[i]
end
-- A write that only frees comes first: a Redis whose memory is full then allows the others.
redis.call('ZREM', KEYS[1], unpack(ids))
redis.call('ZADD', KEYS[1], unpack(members))
for i = 3, #ARGV, 2 do redis.call('SET', KEYS[2] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2]) end
return 'extended'
