-- Trip: no request to this target until `until_ms`; each probe that fails doubles the time.
-- Of one that is sick already only the probe's own failure changes anything: requests that were
-- under way when it fell sick fail late, and would put the probe off for ever. A probe that fails
-- when it is known to be well again is one failure, and one is not enough.
-- KEYS   1 targets  2 this target
-- ARGV   1 instant  2 origin  3 first ms  4 longest ms  5 at least ms  6 probe or ''  7 error
--        8 keep ms
-- Reply  "opened" | "reopened" | "known"
local now = now_ms(ARGV[1])
local was = redis.call('HMGET', KEYS[2], 'since_ms', 'probe', 'failed_probes')
if was[1] and was[2] ~= ARGV[6] or not was[1] and ARGV[6] ~= '' then return 'known' end
local failed = was[1] and was[3] + 1 or 0
local period = math.min(ARGV[3] * 2 ^ math.min(failed, 30), ARGV[4])
local till = now + math.max(period, tonumber(ARGV[5]))
redis.call('HDEL', KEYS[2], 'probe', 'probe_ms')
redis.call('HSET', KEYS[2], 'since_ms', was[1] or now, 'until_ms', till,
  'failed_probes', failed, 'error', ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
redis.call('ZADD', KEYS[1], now + ARGV[8], ARGV[2])
return was[1] and 'reopened' or 'opened'
