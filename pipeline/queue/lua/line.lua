-- Stands after `limits.lua`. A due job of a limit key has a slot of it, then it is in ready as any
-- other; or it is in line for one. "slots" and "waits" have members of one form, "<key> <score>
-- <job id> <limit>", so that those of a key are in the order of ready; "of" has each job's member.
-- A lease that has no place in that order has the slot "<key> - <job id>", and behind that the
-- limit by which it started, if any. Who was put in anew before its lease has ended runs and waits:
-- it is in "twice", and "of" tells where it waits. Who has a rate, and a slot, is in "claims" until
-- its token is taken.

local function names_of(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  return names
end

local function member_of(key, score, id, limit)
  return key .. ' ' .. string.format('%015d', score) .. ' ' .. id .. ' ' .. limit
end

-- Key, score (or "-"), job id, limit.
local function parts_of(member) return string.match(member, '^([^ ]+) ([^ ]+) ([^ ]+) ?(.*)$') end

local function bounds_of(key) return '[' .. key .. ' ', '(' .. key .. '!' end

-- What verdicts on a key go by; its tokens are looked at when they are asked for. `seated` are who
-- has been given a slot since, `claiming` those of them who have a rate.
local function look_at(key)
  local low, high = bounds_of(key)
  local taken = redis.call('ZLEXCOUNT', KEYS[7] .. 'slots', low, high)
  return {key = key, low = low, high = high, taken = taken, seated = 0, claiming = 0}
end
