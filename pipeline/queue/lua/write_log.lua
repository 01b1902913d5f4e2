-- Write log: add to a text, of which the end is kept.
-- KEYS   1 the text
-- ARGV   1 what is added  2 how many bytes are kept  3 ttl ms
-- Reply  how many bytes it has
local text = (redis.call('GET', KEYS[1]) or '') .. ARGV[1]
if #text > tonumber(ARGV[2]) then
  -- Not from the middle of a character.
  text = string.gsub(string.sub(text, -tonumber(ARGV[2])), '^[\128-\191]+', '')
end
redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
return #text
