-- Keeps a worker alive for another lease.
--
-- KEYS 1 the worker's alive marker (hash)  2 workers (zset)  3 waiting (zset)
-- ARGV 1 worker id  2 lease (ms)  3 facts (msgpack)  4 how long a session may wait unnoticed (ms)
-- Returns {now (ms), was alive 0|1, silent workers and forgotten sessions: recover.lua has work if it isn't 0}
-- Invariant: the marker lives one lease from the last heartbeat, by Redis' clock.
local alive = redis.call('PEXPIRE', KEYS[1], ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'facts', ARGV[3], 'at', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local silent = redis.call('ZCOUNT', KEYS[2], '-inf', now - ARGV[2])
return {now, alive, silent + redis.call('ZCOUNT', KEYS[3], '-inf', now - ARGV[4])}
