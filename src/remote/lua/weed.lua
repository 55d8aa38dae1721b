-- Removes what an app wrote back after an invalidation.
--
-- KEYS    1 key   2 guard   3 tombstone: see `remote/mark.rs`
-- ARGV    1 the invalidation's nonce
-- Result  1: removed   0: nothing stands there, or a fill wrote it since, or a newer invalidation sees to it
--
-- Atomic, because a fill between the look and the delete would lose its value.
if not redis.call('ZSCORE', KEYS[3], 'n' .. ARGV[1]) then return 0 end
local stands = redis.call('GET', KEYS[1])
if not stands or redis.call('ZSCORE', KEYS[3], 'h' .. redis.sha1hex(stands)) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
