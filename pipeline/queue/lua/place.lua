-- Stands after `direct.lua` in front of the scripts that put jobs where they wait.

-- Put jobs (id, due ms, priority, "<limit> <key>" or '', …) where each has to wait, and nowhere
-- else; of one that is named twice the last words count. Wake if something may run, or if a timer
-- has to be set sooner than those that sleeping workers have set.
local function place(now, words)
  local to = {ids = {}, due = {}, unready = {}, ready = {}, delayed = {}, odd = {}, keyed = {},
    is_late = {}}
  local last, touched, head = {}, {}, head_of(KEYS[2])
  for i = 1, #words, 4 do last[words[i]] = i end
  for i = 1, #words, 4 do
    if last[words[i]] == i then direct(to, now, unpack(words, i, i + 3)) end
  end
  if #to.ids == 0 then return end
  -- A write that takes memory comes first: a full Redis refuses all of it, not a half.
  local active = KEYS[7] .. 'active'
  if to.has_rates then redis.call('SET', active, 'rates')
  elseif to.has_limits then redis.call('SET', active, 'keys', 'NX') end
  each('ZADD', KEYS[1], to.ready); each('ZADD', KEYS[2], to.delayed)
  each('ZREM', KEYS[1], to.unready); each('ZREM', KEYS[2], to.due); each('HDEL', KEYS[3], to.ids)
  each('HSET', KEYS[3], to.odd)
  if to.has_limits or redis.call('EXISTS', active) == 1 then
    settle()
    leave(to.ids, to.keyed, to.is_late, touched)
  end
  local may = arrive(now, to.keyed, touched) or #to.ready > 0
  if may or is_sooner(head) then wake(KEYS[4]) end
end
