-- Takes the right to fill one key, or says why not.
--
-- KEYS    1 guard   2 key
-- ARGV    1 claim: "c", 16 random bytes, its life in milliseconds as digits   2 that life again
--         3 renew below, in milliseconds; -1: even where the key is fresh or is remembered as absent
-- Result  a string: the claim is held, and this is what stands at the key: its SHA-1, or "" where there is nothing
--         -1: fresh   -2: remembered as absent   0 and above: another claim stands, taken so many milliseconds ago
--
-- Atomic, because the hash must be of the value that stood when the claim was taken, and because a fresh key must not
-- cost a claim that is given back.
local refresh = ARGV[3] == '-1'
local left = redis.call('PTTL', KEYS[2])
if not refresh and (left == -1 or left >= tonumber(ARGV[3])) then return -1 end
-- Before the claim is taken: this refuses a key of another type.
local stood = left == -2 and '' or redis.sha1hex(redis.call('GET', KEYS[2]))

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return stood end
local guard = redis.call('GET', KEYS[1])
if guard:sub(1, 1) == 'c' then
  return math.max(0, (tonumber(guard:sub(18)) or 0) - redis.call('PTTL', KEYS[1]))
end
if not refresh and left == -2 then return -2 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return stood
