-- Makes a new session from another one's checkpoint, whose chunks have been copied.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)  4 sessions (zset), all of the new one
-- ARGV 1 new session id  2 seq of the checkpoint  3 manifest  4 options (msgpack)  then names of all its chunks
-- Returns {'OK'} or {'EXISTS'} or {'MISSING', chunks that are not there}
-- Invariant: the new session's first cell has the seq after the checkpoint's; nothing is written unless every chunk the
--      manifest names is there.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'EXISTS'} end
local missing = 0
for i = 5, #ARGV do missing = missing + 1 - redis.call('HEXISTS', KEYS[3], ARGV[i]) end
if missing > 0 then return {'MISSING', missing} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'open', 'epoch', 0, 'seq', ARGV[2], 'cursor', ARGV[2], 'last', 0, 'owner', '',
  'token', '', 'losses', 0, 'options', ARGV[4], 'head', ARGV[2], 'created_at', now, 'active_at', now)
redis.call('XADD', KEYS[2], ARGV[2] .. '-0', 'm', ARGV[3])
redis.call('ZADD', KEYS[4], now, ARGV[1])
return {'OK'}
