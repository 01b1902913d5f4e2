-- Restore: add those jobs that wait nowhere; a lease does not count (H11).
-- KEYS   1 to 7 as in limits.lua
-- ARGV   1 instant, then for each job: id, due ms, priority, "<limit> <key>" or ""
-- Reply  {id of each job that was added, …}
local ids = {}
for i = 2, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end
local in_ready = redis.call('ZMSCORE', KEYS[1], unpack(ids))
local in_delayed = redis.call('ZMSCORE', KEYS[2], unpack(ids))
local in_line = in_line_of(ids)
local missing, jobs = {}, {}
for n, id in ipairs(ids) do
  if not in_ready[n] and not in_delayed[n] and not in_line[id] then
    missing[#missing + 1] = id
    for i = 4 * n - 2, 4 * n + 1 do jobs[#jobs + 1] = ARGV[i] end
  end
end
place(now_ms(ARGV[1]), jobs)
return missing
