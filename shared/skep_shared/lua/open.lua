-- Makes a session that has no cell yet, if there is none of this id.
--
-- KEYS 1 session (hash)  2 sessions (zset)
-- ARGV 1 session id  2 options (msgpack)
-- Returns {'OK'} or {'DUP'} (it is there already)
-- Invariant: a session that is there stays as it is; a new one is as submit.lua makes it, before its first cell.
if redis.call('HEXISTS', KEYS[1], 'state') == 1 then return {'DUP'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'open', 'epoch', 0, 'seq', 0, 'cursor', 0, 'last', 0, 'owner', '', 'token', '',
  'losses', 0, 'options', ARGV[2], 'created_at', now, 'active_at', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
return {'OK'}
