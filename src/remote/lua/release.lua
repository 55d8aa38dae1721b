-- Gives a lease back, if it is still the holder's own.
--
-- KEYS    1 lock   2 its book
-- ARGV    1 holder   2 fence
-- Result  1: given back   0: it has ended, or is another's
--
-- Atomic, because a release that comes late must not end the lease of who came next.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1])
