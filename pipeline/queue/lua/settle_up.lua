-- Stands after `started.lua` in front of the lease script.

-- Take the tokens of those that have started; where somebody waits for their claims, hand them on.
local function settle_up(now, is_waited_for)
  local keys = settle()
  if is_waited_for and judge(now, keys, CLAIMED) then wake(KEYS[4]) end
end
