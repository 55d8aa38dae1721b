-- Writes a key into one shard of a tag, and tells whether the tag's subject was told to be gone.
--
-- KEYS    1 tag: sorted set, keys by when they end   2 for a subject's tag: its tombstone, which holds its own whole life
-- ARGV    1 key   2 how long it has to last, in milliseconds   3 grace for what has ended   4 ended entries to take out
-- Result  how many milliseconds ago the subject was buried; -1: it was not, or the tag is not a subject's
--
-- Atomic, because the end is counted by the server's clock, and because a logout between reading the tombstone and
-- registering would meet neither.
local time = redis.call('TIME')
local millis = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', millis - tonumber(ARGV[3]), 'LIMIT', 0, ARGV[4])
if #ended > 0 then redis.call('ZREM', KEYS[1], unpack(ended)) end
redis.call('ZADD', KEYS[1], 'GT', millis + tonumber(ARGV[2]), ARGV[1])
local whole = KEYS[2] and redis.call('GET', KEYS[2])
if not whole then return -1 end
return math.max(0, (tonumber(whole) or 0) - redis.call('PTTL', KEYS[2]))
