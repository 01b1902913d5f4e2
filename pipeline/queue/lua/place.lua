-- Stands, after `moves.lua`, in front of the scripts that put jobs into ready or delayed.

-- Put jobs (id, due ms, priority, "<limit> <key>" or '', …) where each has to wait, and nowhere
-- else; of one that is named twice the last words count. Wake if something may run, or if a timer
-- has to be set sooner than those that sleeping workers have set.
local function place(now, words)
  local to = {ids = {}, due = {}, late = {}, unready = {}, ready = {}, delayed = {}, odd = {},
    keyed = {}, kept = {}}
  local last, touched, keys, head = {}, {}, {}, head_of(KEYS[2])
  for i = 1, #words, 4 do last[words[i]] = i end
  for i = 1, #words, 4 do
    if last[words[i]] == i then direct(to, now, unpack(words, i, i + 3)) end
  end
  local found = waiting_for_keys(to.ids)
  -- A write that takes memory comes first: a full Redis refuses all of it, not a half.
  if to.has_limits then redis.call('SET', KEYS[7] .. 'active', '1') end
  each('ZADD', KEYS[1], to.ready); each('ZADD', KEYS[2], to.delayed)
  wait_for_keys(to.keyed, touched)
  each('ZREM', KEYS[1], to.unready); each('ZREM', KEYS[2], to.due)
  each('HDEL', KEYS[3], to.due); each('HDEL', KEYS[3], to.late)
  each('HSET', KEYS[3], to.odd)
  leave_keys(found, to.kept, touched)
  for key in pairs(touched) do keys[#keys + 1] = key end
  local may = judge(now, keys) or #to.ready > 0
  local is_sooner = #to.delayed + #keys > 0 and
    (head_of(KEYS[2]) or math.huge) < (head or math.huge)
  if may or is_sooner then wake(KEYS[4]) end
end
