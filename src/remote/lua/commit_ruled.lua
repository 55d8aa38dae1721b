-- Writes a value under its claim where a tombstone has a say, aliases are registered or the value is marked, and gives
-- the claim back.
--
-- KEYS    1 guard   2 key   3 index: sorted set, aliases by when they end   4 tombstone: see `remote/mark.rs`
-- ARGV    1 claim   2 what stood at the key when it was claimed (SHA-1, or "")   3 value   4 life in milliseconds
--         5 version, or ""   6 "1": a floor may stand   7 lag in milliseconds, or ""   8 "1": apps write the key too
--         9 how long aliases are registered for, in milliseconds   10 room of the index   11 grace for what has ended
--         12 hashes kept at most   13 seconds that nobody seems to have touched it for, or ""   14... aliases
-- Result  {how, life given in milliseconds, aliases registered, 1: marked}
--         how: 1: written   0: the claim was gone   2: an app's newer value was kept   3: older than what was invalidated
--
-- Atomic, because an invalidation between any two of these would miss what the later one writes. Aliases come before the
-- value: an index of another type must stop the write.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0, 0, 0, 0} end
redis.call('DEL', KEYS[1])
local now = redis.call('GET', KEYS[2])
if now and redis.sha1hex(now) ~= ARGV[2] then return {2, 0, 0, 0} end

local life = tonumber(ARGV[4])
if ARGV[6] == '1' then
  local floor = redis.call('ZSCORE', KEYS[4], 'f')
  if floor and (ARGV[5] == '' or tonumber(ARGV[5]) < tonumber(floor)) then return {3, 0, 0, 0} end
end
if ARGV[7] ~= '' then
  -- What is left of the tombstone tells how old it is. Before it is as old as the lag, a value may be one from before.
  local whole = redis.call('ZSCORE', KEYS[4], 'l')
  if whole then
    local open = tonumber(ARGV[7]) - (tonumber(whole) - redis.call('PTTL', KEYS[4]))
    if open > 0 then life = math.max(1, math.min(life, open)) end
  end
end

local registered = 0
if #ARGV > 13 then
  local time = redis.call('TIME')
  local millis = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', millis - tonumber(ARGV[11]))
  local room = tonumber(ARGV[10]) - redis.call('ZCARD', KEYS[3])
  for i = 14, #ARGV do
    if not redis.call('ZSCORE', KEYS[3], ARGV[i]) then
      if room <= 0 then break end
      room = room - 1
    end
    redis.call('ZADD', KEYS[3], 'GT', millis + tonumber(ARGV[9]), ARGV[i])
    registered = registered + 1
  end
end

if ARGV[8] == '1' and redis.call('EXISTS', KEYS[4]) == 1 and redis.call('ZCOUNT', KEYS[4], -3, -3) < tonumber(ARGV[12]) then
  redis.call('ZADD', KEYS[4], -3, 'h' .. redis.sha1hex(ARGV[3]))
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', life)
local marked = 0
if ARGV[13] ~= '' then
  -- A server that counts reads has no clock for them. There, and where this is not allowed, the value stands without a
  -- mark.
  local counts = type(redis.pcall('OBJECT', 'FREQ', KEYS[2])) == 'number'
  local dump = not counts and redis.pcall('DUMP', KEYS[2])
  if type(dump) == 'string' then
    local restored = redis.pcall('RESTORE', KEYS[2], life, dump, 'REPLACE', 'IDLETIME', ARGV[13])
    if restored.ok then marked = 1 end
  end
end
return {1, life, registered, marked}
