-- Give back: this probe has learnt nothing of the target; the next who asks is one instead.
-- KEYS   1 this target
-- ARGV   1 probe
-- Reply  "given" | "gone"
if redis.call('HGET', KEYS[1], 'probe') ~= ARGV[1] then return 'gone' end
redis.call('HDEL', KEYS[1], 'probe', 'probe_ms')
return 'given'
