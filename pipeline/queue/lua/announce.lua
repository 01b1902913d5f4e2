-- Announce: what a worker or watcher says of itself, forgotten `ttl` after it last said so.
-- KEYS   1 its hash
-- ARGV   1 instant  2 ttl ms, then field, value, …
-- Reply  "announced"
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'seen_ms', now_ms(ARGV[1]), unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'announced'
