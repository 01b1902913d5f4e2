-- Stands after `step.lua` in front of the lease script.

-- The place of (score, member) in `work` from `low` on, which is in the order of ready.
local function place_in(work, low, score, member)
  local high, last = #work + 1, work[#work]
  if score > last[1] then return high end
  while low < high do
    local middle = math.floor((low + high) / 2)
    local other = work[middle]
    if other[1] < score or other[1] == score and other[2] < member then low = middle + 1
    else high = middle end
  end
  return low
end

-- Take from `work`, in order, until `leases` has `limit`; jobs of limit keys count as if they stood
-- there themselves. Where what remains of `work` begins.
local function merge(now, limit, work, streams, leases)
  local i, ids, keys = 1, leases.ids, leases.keys
  while work[i] and #ids < limit do
    local mark = work[i][2]
    local id, stream = mark, streams[mark] or false
    if stream then
      id = step(now, stream)
      local _, score = first_of(stream)
      if id and score then
        score = tonumber(score)
        table.insert(work, place_in(work, i + 1, score, mark), {score, mark})
      elseif id then stream.state = 0 end
    end
    if id then ids[#ids + 1] = id end
    if id then keys[#ids], leases.tokens[#ids] = stream and stream.key, stream and stream.token end
    i = i + 1
  end
  return i
end
