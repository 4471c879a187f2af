-- Renews a worker's lease.
--
-- KEYS 1 the worker's alive marker (hash)  2 workers (zset)  3 waiting (zset)  4 named (zset, see recover.lua)
-- ARGV 1 worker id  2 lease (ms)  3 facts (msgpack)  4 how long a session may wait before it is overdue (ms)
--      5 the ids of its signing keys, separated by blanks ('' = none): see control.lua
-- Returns {now (ms), was alive 0|1, silent workers and overdue sessions: recover.lua has work if it isn't 0,
--      in how many ms the next worker or session may be one of them}
-- Invariant: the marker lives one lease from the last heartbeat, by Redis's clock. A time in that
--      clock's future was written before the clock was set back: recover.lua has work then, too.
local alive = redis.call('PEXPIRE', KEYS[1], ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'facts', ARGV[3], 'at', now, 'lease', ARGV[2])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'keys', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local neglected, soon = 0, nil
for _, looked in ipairs({{KEYS[2], ARGV[2]}, {KEYS[3], ARGV[4]}}) do
  local key, bound = looked[1], tonumber(looked[2])
  neglected = neglected + redis.call('ZCOUNT', key, '-inf', now - bound) + redis.call('ZCOUNT', key, '(' .. now, '+inf')
  local first = redis.call('ZRANGEBYSCORE', key, '(' .. now - bound, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then soon = math.min(soon or 2 ^ 40, tonumber(first[2]) + bound - now) end
end
-- A waiting session that was named a moment ago is not overdue; it is again after as long as before the first time.
neglected = math.max(0, neglected - redis.call('ZCOUNT', KEYS[4], '(' .. now - tonumber(ARGV[4]), now))
local next = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. now - tonumber(ARGV[4]), now, 'WITHSCORES', 'LIMIT', 0, 1)
if next[2] then soon = math.min(soon or 2 ^ 40, tonumber(next[2]) + tonumber(ARGV[4]) - now) end
return {now, alive, neglected, math.ceil(soon or 0) + 1} -- a marker expires only after its last millisecond
