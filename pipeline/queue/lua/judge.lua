-- Stands after `verdict.lua`. "keys" has each key for which jobs are in line: FULL, CLAIMED, or the
-- instant of its next token; then the mark "=<key>" stands in delayed, so that timers ring for it.

local function nothing()
  return {ids = {}, members = {}, claims = {}, ready = {}, left = {}, states = {}, gone = {},
    marks = {}, unmarked = {}}
end

-- Slots for `members`, which are a key's first in line, as far as they may run: how many, and the
-- verdict on the next. What is to be written down goes into `to`.
local function seat(now, known, members, to)
  local count = #to.ids
  for n, member in ipairs(members) do
    local _, score, id, limit = parts_of(member)
    local state = count < 1000 and verdict(now, known, limit) or now  -- a mark goes on with it
    if state ~= MAY_RUN then return n - 1, state end
    known.seated, count = known.seated + 1, count + 1
    to.ids[count], to.members[2 * count - 1], to.members[2 * count] = id, 0, member
    to.ready[2 * count - 1], to.ready[2 * count] = score, id
    if known.spent and select(2, numbers_of(limit)) > 0 then
      known.claiming = known.claiming + 1
      to.claims[#to.claims + 1] = 0; to.claims[#to.claims + 1] = member
    end
  end
  return #members
end

-- What the first in line waits for from now on (nil: nobody is in line), and what it was.
local function stand(to, key, state, before)
  if not state then to.gone[#to.gone + 1] = key
  elseif state ~= before then
    to.states[#to.states + 1] = state; to.states[#to.states + 1] = key
  end
  if (state or FULL) > CLAIMED then
    to.marks[#to.marks + 1] = state; to.marks[#to.marks + 1] = '=' .. key
  elseif (before or FULL) > CLAIMED then to.unmarked[#to.unmarked + 1] = '=' .. key end
end
