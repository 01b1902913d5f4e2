-- Recount: put right what limit keys hold, if anything ever made it wrong (a process of a version
-- that knows no limits, somebody's hand): leases are counted anew, some keys are judged anew; and
-- "active" goes when no job has a limit key any more (those that are delayed have it in priority).
-- KEYS   1 to 7 as in limits.lua  8 active
-- ARGV   1 instant  2 cursor of the keys ("0": begin)
-- Reply  the next cursor, "0": done
local now = now_ms(ARGV[1])
if ARGV[2] == '0' then
  local held, counts, gone, words = redis.call('HGETALL', KEYS[7] .. 'held'), {}, {}, {}
  for i = 1, #held, 2 do
    local key = string.match(held[i + 1], '^%S+')
    if redis.call('ZSCORE', KEYS[5], held[i]) then
      counts[key] = (counts[key] or 0) + 1
    else
      gone[#gone + 1] = held[i]
    end
  end
  redis.call('DEL', KEYS[7] .. 'running')
  for _, id in ipairs(gone) do redis.call('HDEL', KEYS[7] .. 'held', id) end
  for key, count in pairs(counts) do redis.call('HSET', KEYS[7] .. 'running', key, count) end
  if redis.call('EXISTS', KEYS[7] .. 'held', KEYS[7] .. 'of', KEYS[3]) == 0 then
    redis.call('DEL', KEYS[8])
  end
end
local found, keys = redis.call('ZSCAN', KEYS[7] .. 'keys', ARGV[2], 'COUNT', 500), {}
for i = 1, #found[2], 2 do keys[#keys + 1] = found[2][i] end
if judge(now, keys) then wake(KEYS[4]) end
return found[1]
