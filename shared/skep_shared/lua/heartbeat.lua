-- Keeps a worker alive for another lease.
--
-- KEYS 1 the worker's alive marker (hash)  2 workers (zset)
-- ARGV 1 worker id  2 lease (ms)  3 facts (msgpack)
-- Returns {now (ms), was alive 0|1}
-- Invariant: the marker lives one lease from the last heartbeat, by Redis' clock.
local alive = redis.call('PEXPIRE', KEYS[1], ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'facts', ARGV[3], 'at', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
return {now, alive}
