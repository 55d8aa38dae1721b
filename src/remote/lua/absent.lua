-- Remembers for a while that the source had nothing: the guard becomes the memory, and what stood at the key goes.
--
-- KEYS    1 guard   2 key   3 tombstone, where the entity has rules
-- ARGV    1 claim   2 what stood at the key when it was claimed (SHA-1, or "")   3 life of the memory in milliseconds
--         4 "1": a floor may stand   5 lag in milliseconds, or ""
-- Result  1: remembered   0: the claim was gone, nothing was changed   2: an app's newer value was kept
--         3: a floor stands, and absence has no version to hold against it
--
-- Atomic, because an invalidation between the check and the write would be undone by the write.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local now = redis.call('GET', KEYS[2])
if now and redis.sha1hex(now) ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 2
end
local life = tonumber(ARGV[3])
if KEYS[3] then
  if ARGV[4] == '1' and redis.call('ZSCORE', KEYS[3], 'f') then
    redis.call('DEL', KEYS[1])
    return 3
  end
  -- As in a commit: before the tombstone is as old as the lag, the answer may be one from before.
  local whole = ARGV[5] ~= '' and redis.call('ZSCORE', KEYS[3], 'l')
  if whole then
    local open = tonumber(ARGV[5]) - (tonumber(whole) - redis.call('PTTL', KEYS[3]))
    if open > 0 then life = math.max(1, math.min(life, open)) end
  end
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], 'a', 'PX', life)
return 1
