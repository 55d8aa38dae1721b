-- Reads a subject's history: as much of it as may be ours, whatever somebody may have written there.
--
-- KEYS    1 history
-- ARGV    1 fields looked at in one step, and at most told of   2 steps, at most
--         3 and 4 the longest name and value that are ours
-- Result  1 if there is more than is told, else 0; then names and values
--
-- A script, because no command has a bound in bytes, and one reply must not take the connection that all share.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {0} end
if kind ~= 'hash' then return {1} end
local most, name_most, value_most = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local more, cursor, scores, reads = 0, '0', {}, {}
for _ = 1, tonumber(ARGV[2]) do
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', most)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local name, value = page[2][i], page[2][i + 1]
    if #name > name_most or #value > value_most then
      more = 1
    else
      -- What took many visits to learn comes before what one of them has left.
      local list = name:sub(2, 2) == ':' and name:sub(1, 1) ~= 's' and reads or scores
      list[#list + 1] = {name, value}
    end
  end
  if cursor == '0' then break end
end
if cursor ~= '0' or #scores + #reads > most then more = 1 end
local told = {more}
for _, list in ipairs({scores, reads}) do
  for _, field in ipairs(list) do
    if #told > 2 * most then break end
    told[#told + 1] = field[1]
    told[#told + 1] = field[2]
  end
end
return told
