-- Counts what a session of a tenant stores: the bytes of its checkpoints, as its owner knows them.
--
-- KEYS 1 session (hash)
-- ARGV 1 owner token  2 epoch  3 bytes of all its checkpoints
-- Includes tenant.lua: also touches its P:tenant:TENANT.
-- Returns {'OK'} or {'FENCED', epoch}
-- Invariant: `bytes` of a session is what of it its tenant's count contains. Sent again it changes nothing.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'bytes')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'bytes', ARGV[3])
if use then add_use('bytes', tonumber(ARGV[3]) - tonumber(h[3] or 0)) end
return {'OK'}
