-- Stands after `waits.lua`, in front of `place.lua`: where jobs come from and where they go.
-- Where jobs wait for limit keys now, if anywhere: id → "<limit> <key>".
local function waiting_for_keys(ids)
  local found = {}
  if #ids == 0 or redis.call('EXISTS', KEYS[7] .. 'of') == 0 then return found end
  local texts = redis.call('HMGET', KEYS[7] .. 'of', unpack(ids))
  for n, text in ipairs(texts) do found[ids[n]] = text or nil end
  return found
end

-- Forget that they wait there, but for those in `kept`: there they wait from now on.
local function leave_keys(found, kept, touched)
  local ids = {}
  for id, text in pairs(found) do
    local limit, key = string.match(text, '^(%S+ %S+ %S+) (.*)$')
    if kept[id] ~= text then redis.call('ZREM', KEYS[7] .. 'waits:' .. key, id .. ' ' .. limit) end
    if not kept[id] then ids[#ids + 1] = id end
    touched[key] = true
  end
  each('HDEL', KEYS[7] .. 'of', ids)
end

-- One job's words into the lists of where it goes.
local function direct(to, now, id, due, priority, text)
  due, to.ids[#to.ids + 1], to.has_limits = tonumber(due), id, to.has_limits or text ~= ''
  local score = ready_score(tonumber(priority), due)
  if due > now then
    to.late[#to.late + 1], to.unready[#to.unready + 1] = id, id
    to.delayed[#to.delayed + 1] = due; to.delayed[#to.delayed + 1] = id
    priority = text == '' and priority or priority .. ' ' .. text
    if priority ~= '5' then to.odd[#to.odd + 1] = id; to.odd[#to.odd + 1] = priority end
  elseif text == '' then
    to.due[#to.due + 1] = id
    to.ready[#to.ready + 1] = score; to.ready[#to.ready + 1] = id
  else
    to.due[#to.due + 1], to.unready[#to.unready + 1], to.kept[id] = id, id, text
    for _, word in ipairs({id, score, text}) do to.keyed[#to.keyed + 1] = word end
  end
end
