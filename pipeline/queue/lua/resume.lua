-- Resume: lease again, and wake if there is anything to lease or to wait for.
-- KEYS   1 ready  2 delayed  3 paused  4 wake
-- Reply  "open"
redis.call('DEL', KEYS[3])
if redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) > 0 then wake(KEYS[4]) end
return 'open'
