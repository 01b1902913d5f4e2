-- Stands after `judge.lua`.

-- Write it down. Keys that have room again: who runs, too, had a slot already.
local function write_down(to)
  local again, twice = {}, twice_of(to.ids)
  for n, id in ipairs(to.ids) do
    local key = twice[id] and parts_of(to.members[2 * n])
    if key and take_apart(key, id) > 0 then again[key] = 1 end
  end
  each('ZREM', KEYS[7] .. 'waits', to.left); each('ZREM', KEYS[7] .. 'keys', to.gone)
  each('ZREM', KEYS[2], to.unmarked)
  each('ZADD', KEYS[7] .. 'slots', to.members); each('ZADD', KEYS[7] .. 'claims', to.claims)
  each('ZADD', KEYS[1], to.ready)
  each('ZADD', KEYS[7] .. 'keys', to.states); each('ZADD', KEYS[2], to.marks)
  return again
end
