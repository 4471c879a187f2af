-- Removes every key of a closed session.
--
-- KEYS 1 session (hash)  2 cells  3 ids  4 events  5 sessions (zset)  6 waiting (zset)  7 checkpoints  8 blobs
-- ARGV 1 session id
-- Returns {'OK'} or {'OPEN', state}
-- Invariant: only a closed session is purged; afterwards its id is new.
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'closed' then return {'OPEN', state} end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[7], KEYS[8])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
return {'OK'}
