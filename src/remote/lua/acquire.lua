-- Takes a lease if nobody holds it, and counts its fence up.
--
-- KEYS    1 lock   2 its book: a hash with the newest lease's fence and the name of its holder's pod
-- ARGV    1 holder   2 life in milliseconds   3 the holder's pod
-- Result  a number: the lease is held, under this fence
--         a list: the holder, its pod, and how long the lease stands in milliseconds; below 0: it has no end
--
-- Atomic, because of two holders the one whose lease is newer must have the higher fence.
local fence = (tonumber(redis.call('HGET', KEYS[2], 'fence')) or 0) + 1
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('HSET', KEYS[2], 'fence', fence, 'pod', ARGV[3])
  return fence
end
return { redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], 'pod') or '', redis.call('PTTL', KEYS[1]) }
