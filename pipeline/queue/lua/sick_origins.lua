-- Origins: which targets are sick. Those that nobody has asked for in so long that their hashes are
-- gone are taken out of the index: what is never called again must not stay in it for ever.
-- KEYS   1 targets
-- ARGV   1 instant
-- Reply  {origin, ...}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
