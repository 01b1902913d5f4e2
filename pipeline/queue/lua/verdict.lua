-- Stands after `line.lua`.

-- May a job with this limit have a slot: MAY_RUN, FULL (when another has left), CLAIMED (when
-- another has started), or the instant of a token. Who has a rate, and is in ready, has a claim.
local function verdict(now, known, limit)
  local most, interval, burst = numbers_of(limit)
  if most > 0 and known.taken + known.seated >= most then return FULL end
  if interval == 0 then return MAY_RUN end
  if not known.spent then
    known.spent = tonumber(redis.call('HGET', KEYS[7] .. 'spent', known.key) or 0)
    known.claimed = redis.call('ZLEXCOUNT', KEYS[7] .. 'claims', known.low, known.high)
  end
  local claimed = known.claimed + known.claiming
  if claimed >= burst then return CLAIMED end
  known.spent = forgiven(now, known.key, known.spent, interval, burst)
  local there, again = tokens_of(now, known.spent, interval, burst, claimed)
  return there > 0 and MAY_RUN or again
end
