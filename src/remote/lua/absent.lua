-- Remembers for a while that the source had nothing: the guard becomes the memory, and what stood at the key goes.
--
-- KEYS    1 guard   2 key
-- ARGV    1 claim   2 what stood at the key when it was claimed (SHA-1, or "")   3 life of the memory in milliseconds
-- Result  1: remembered   0: the claim was gone, nothing was changed   2: an app's newer value was kept
--
-- Atomic, because an invalidation between the check and the write would be undone by the write.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local now = redis.call('GET', KEYS[2])
if now and redis.sha1hex(now) ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 2
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], 'a', 'PX', ARGV[3])
return 1
