-- Makes an earlier checkpoint the session's state.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)
-- ARGV 1 owner token  2 epoch  3 cursor  4 the checkpoint, SEQ or SEQ-PART
-- Returns {'OK', head before} or {'FENCED', epoch} or {'GAP', cursor} (a cell has committed meanwhile) or {'UNKNOWN'}
-- Invariant: the head is a checkpoint that exists; sent again it changes nothing.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'cursor', 'head')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
if h[3] ~= ARGV[3] then return {'GAP', tonumber(h[3])} end
local id = string.find(ARGV[4], '-') and ARGV[4] or ARGV[4] .. '-0'
if #redis.call('XRANGE', KEYS[2], id, id) == 0 then return {'UNKNOWN'} end
redis.call('HDEL', KEYS[1], 'unsaved') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'head', ARGV[4])
return {'OK', h[4] or '0'}
