-- Withdraw: these jobs wait no more; what is leased is left to who leased it. Wake if that lets
-- others run, now or soon.
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant, then job ids
-- Reply  "withdrawn"
local now, head, ids, is_late, touched = now_ms(ARGV[1]), head_of(KEYS[2]), {}, {}, {}
for n, deadline in ipairs(redis.call('ZMSCORE', KEYS[5], unpack(ARGV, 2))) do
  if not deadline then ids[#ids + 1] = ARGV[n + 1]; is_late[ARGV[n + 1]] = true end
end
each('ZREM', KEYS[1], ids); each('ZREM', KEYS[2], ids); each('HDEL', KEYS[3], ids)
if #ids > 0 and redis.call('EXISTS', KEYS[7] .. 'active') == 1 then
  settle()
  leave(ids, {}, is_late, touched)
  if arrive(now, {}, touched) or is_sooner(head) then wake(KEYS[4]) end
end
return 'withdrawn'
