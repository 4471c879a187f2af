-- Removes a worker after it has released its sessions.
--
-- KEYS 1 the worker's alive marker  2 workers (zset)  3 its mailbox  4 its sessions (set)
-- ARGV 1 worker id
-- Returns {sessions it still owned}
-- Invariant: a worker that still owns sessions remains in the index, without its marker, for recovery to find.
local left = redis.call('SCARD', KEYS[4])
redis.call('DEL', KEYS[1], KEYS[3])
if left == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
return {left}
