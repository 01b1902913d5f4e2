-- Stands after `settle.lua` in front of the lease script.

-- Take up to `limit` of ready into `leases` (ids and their limit keys); whether there may be more.
local function take(now, limit, leases)
  for _ = 1, limit > 0 and 8 or 0 do
    local asked, work = limit - #leases.ids, {scores = {}, members = {}}
    local popped = redis.call('ZPOPMIN', KEYS[1], asked)
    local streams = streams_of(popped, asked)
    for i = 2, #popped, 2 do work.members[i / 2], work.scores[i / 2] = popped[i - 1], popped[i] end
    settle(work, merge(now, limit, work, streams, leases), streams)
    if #leases.ids == limit or #popped < 2 * asked then return false end
  end
  return limit > 0
end
