-- Writes into a subject's history.
--
-- KEYS    1 history   2 its tombstone: see `remote/mark.rs`
-- ARGV    1 life in milliseconds   2 since when what is written is known, in milliseconds   3 fields, at most
--         4 1: everything else goes   5 how many fields go; these, and then names and values
-- Result  1: written   0: nothing was, because the subject was forgotten since
--
-- Atomic, because a history that is forgotten between the look and the write would be there again, and because what is
-- bounded must not be counted by several at once.
local whole = redis.call('ZSCORE', KEYS[2], 'l')
if whole and tonumber(whole) - redis.call('PTTL', KEYS[2]) <= tonumber(ARGV[2]) then return 0 end
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) end
local first = 6 + tonumber(ARGV[5])
if first > 6 then redis.call('HDEL', KEYS[1], unpack(ARGV, 6, first - 1)) end
local room = tonumber(ARGV[3]) - redis.call('HLEN', KEYS[1])
for i = first, #ARGV, 2 do
  local is_there = room <= 0 and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1
  if room > 0 or is_there then
    room = room - redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
