-- Writes a value under its claim, and gives the claim back.
--
-- KEYS    1 guard   2 key
-- ARGV    1 claim   2 what stood at the key when it was claimed (SHA-1, or "")   3 value   4 life in milliseconds
-- Result  1: written   0: the claim was gone, nothing was written   2: an app's newer value was kept
--
-- Atomic, because an invalidation between the check and the write would be undone by the write.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
-- Nothing stood there: the usual case, and the cheap one.
if redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then return 1 end
if redis.sha1hex(redis.call('GET', KEYS[2])) ~= ARGV[2] then return 2 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
