-- Writes a value that its owner gave, past any claim, unless something newer is known.
--
-- KEYS    1 key   2 guard   3 tombstone: see `remote/mark.rs`
-- ARGV    1 value   2 life in milliseconds   3 version   4 the invalidation's nonce   5 life of the tombstone
-- Result  1: written   0: a newer version is known, or an invalidation that named none; the key is left removed
--
-- Atomic, because an invalidation with a newer version between the check and the write would be undone by the write.
local floor = redis.call('ZSCORE', KEYS[3], 'f')
if redis.call('ZSCORE', KEYS[3], 'u') or (floor and tonumber(ARGV[3]) < tonumber(floor)) then
  redis.call('DEL', KEYS[1], KEYS[2])
  return 0
end
-- The same marks as an invalidation leaves, nonce and hashes being of the newest alone.
redis.call('ZREMRANGEBYSCORE', KEYS[3], -3, -3)
redis.call('ZREMRANGEBYSCORE', KEYS[3], -1, -1)
redis.call('ZADD', KEYS[3], ARGV[5], 'l', -1, 'n' .. ARGV[4], -3, 'h' .. redis.sha1hex(ARGV[1]))
redis.call('ZADD', KEYS[3], 'GT', ARGV[3], 'f')
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
