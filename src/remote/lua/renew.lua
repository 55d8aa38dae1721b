-- Lets a lease stand for another life, if it is still the holder's own.
--
-- KEYS    1 lock   2 its book
-- ARGV    1 holder   2 fence   3 life in milliseconds
-- Result  1: it stands   0: it has ended, or is another's
--
-- Atomic, because between a look and the prolonging the lease could end, and become somebody else's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
