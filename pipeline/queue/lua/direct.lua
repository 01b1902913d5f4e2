-- Stands after `arrive.lua`.

-- One job's words into the lists of where it goes.
local function direct(to, now, id, due, priority, text)
  due, to.ids[#to.ids + 1], to.has_limits = tonumber(due), id, to.has_limits or text ~= ''
  local score = ready_score(tonumber(priority), due)
  if text ~= '' and not string.find(text, ' 0 ', 1, true) then to.has_rates = true end
  if due > now then
    to.unready[#to.unready + 1], to.is_late[id] = id, true
    to.delayed[#to.delayed + 1] = due; to.delayed[#to.delayed + 1] = id
    priority = text == '' and priority or priority .. ' ' .. text
    if priority ~= '5' then to.odd[#to.odd + 1] = id; to.odd[#to.odd + 1] = priority end
  elseif text == '' then
    to.ready[#to.ready + 1] = score; to.ready[#to.ready + 1] = id
  else
    local limit, key = string.match(text, '^(%S+ %S+ %S+) (.*)$')
    to.unready[#to.unready + 1], to.keyed[id] = id, member_of(key, score, id, limit)
  end
  if due <= now then to.due[#to.due + 1] = id end
end
