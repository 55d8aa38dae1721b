-- Gives a claim back unused.
--
-- KEYS    1 guard
-- ARGV    1 claim
-- Result  1: given back   0: it was gone already
--
-- Atomic, because between the check and the delete the guard could have become another fill's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
