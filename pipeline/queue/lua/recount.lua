-- Recount: put right what jobs of limit keys hold, if anything ever made it wrong (a process of
-- another version, somebody's hand), and judge the keys anew. A slot belongs to who is leased or in
-- ready; a key that jobs are in line for is in "keys", or nobody would call them. "active" goes
-- when no job has a limit key any more (those that are delayed have it in priority).
-- KEYS   1 to 7 as in limits.lua  8 active
-- ARGV   1 instant  2 cursor ("0": begin)  3 what is gone through: "of", "slots", "keys"
-- Reply  the next cursor, "0": done
local now, what, touched, names, values = now_ms(ARGV[1]), ARGV[3], {}, {}, {}
local scan = what == 'of' and 'HSCAN' or 'ZSCAN'
local found = redis.call(scan, KEYS[7] .. what, ARGV[2], 'COUNT', 500)
for i = 1, #found[2], 2 do
  names[#names + 1] = found[2][i]; values[#values + 1] = found[2][i + 1]
  if what == 'keys' then touched[found[2][i]] = 1 end
end
if what == 'of' and #names > 0 then
  local lines, ready = in_line_of(names), redis.call('ZMSCORE', KEYS[1], unpack(names))
  local leased = redis.call('ZMSCORE', KEYS[5], unpack(names))
  for n, id in ipairs(names) do
    local key = parts_of(values[n])
    if not (ready[n] or leased[n] or lines[id]) then
      stand_up(id, values[n]); touched[key] = 1
    elseif lines[id] and not redis.call('ZSCORE', KEYS[7] .. 'keys', key) then
      redis.call('ZADD', KEYS[7] .. 'keys', FULL, key); touched[key] = 1
    end
  end
end
for n, member in ipairs(what == 'slots' and names or {}) do
  local key, place, id = parts_of(member)
  local is_beside = place == '-' and redis.call('SISMEMBER', KEYS[7] .. 'twice', id) == 1
    and redis.call('ZSCORE', KEYS[5], id)
  if not is_beside and redis.call('HGET', KEYS[7] .. 'of', id) ~= member then
    redis.call('ZREM', KEYS[7] .. 'slots', member); touched[key] = 1
  end
end
if judge(now, touched) then wake(KEYS[4]) end
if redis.call('EXISTS', KEYS[3], KEYS[7] .. 'of') == 0 then redis.call('DEL', KEYS[8]) end
return found[1]
