-- Restore: add those jobs that are in neither ready nor delayed; a lease does not count (H11).
-- KEYS   1 ready  2 delayed  3 priority  4 wake
-- ARGV   1 instant, then for each job: id, due ms, priority
-- Reply  {id of each job that was added, …}
local ids = {}
for i = 2, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
local in_ready = redis.call('ZMSCORE', KEYS[1], unpack(ids))
local in_delayed = redis.call('ZMSCORE', KEYS[2], unpack(ids))
local missing, entries = {}, {}
for n, id in ipairs(ids) do
  if not in_ready[n] and not in_delayed[n] then
    missing[#missing + 1] = id
    for i = 3 * n - 1, 3 * n + 1 do entries[#entries + 1] = ARGV[i] end
  end
end
place(now_ms(ARGV[1]), entries)
return missing
