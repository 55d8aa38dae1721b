-- Writes how far a lease's work has come, unless a later lease was granted since.
--
-- KEYS    1 the lease's book   2 note
-- ARGV    1 fence   2 text   3 life in milliseconds
-- Result  1: written   0: a later lease was granted, and what it notes counts
--
-- Atomic, because the lease that is granted between a look and the write would find the older one's note.
if (tonumber(redis.call('HGET', KEYS[1], 'fence')) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
