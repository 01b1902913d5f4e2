-- Stands after `step.lua` in front of the lease script.

-- The mark at place `i` of `work`, which is in the order of ready, moves back to its new score;
-- itself if it is still the first. Scores stay the words that they were: to write a number costs.
local function move_back(work, i, text, mark)
  local scores, members, score = work.scores, work.members, tonumber(text)
  local low, high = i + 1, #members + 1
  if high > low and score > tonumber(scores[high - 1]) then low = high end
  while low < high do
    local middle = math.floor((low + high) / 2)
    local other = tonumber(scores[middle])
    if other < score or other == score and members[middle] < mark then low = middle + 1
    else high = middle end
  end
  if low == i + 1 then scores[i] = text; return mark end
  table.insert(scores, low, text); table.insert(members, low, mark)
  return nil
end

-- Take from `work`, in order, until `leases` has `limit`; jobs of limit keys count as if they stood
-- there themselves. Where what remains of `work` begins.
local function merge(now, limit, work, streams, leases)
  local ids, members, number, state = leases.ids, work.members, streams.number, streams.state
  local i, count, mark = 1, #ids, work.members[1]
  while mark and count < limit do
    local n, again = number[mark], nil
    if not n then
      count = count + 1; ids[count] = mark
    elseif (state[n] or look(now, streams, n)) == MAY_RUN then
      count = count + 1
      ids[count], leases.tokens[count] = step(now, streams, n)
      leases.keys[count] = streams.keys[n]
      if look(now, streams, n) == MAY_RUN then
        again = move_back(work, i, streams.score[n], mark)
      end
    end
    if not again then i = i + 1; mark = members[i] end
  end
  return i
end
