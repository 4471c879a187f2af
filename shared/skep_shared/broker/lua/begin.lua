-- Records which cell the owner's process begins, so that the owner's death counts as an attempt of that cell only.
--
-- KEYS 1 session (hash)
-- ARGV 1 owner token  2 epoch  3 seq of the cell
-- Returns {'OK'} or {'FENCED', epoch}
-- Invariant: a claim resets `begun`, so it is the present owner's. A commit at which the next cell has begun records
--      that itself. The record is not propagated to the append-only file and to replicas, so that no cell waits for a
--      disk because of it. A server that has lost it counts one attempt less.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
if redis.replicate_commands then redis.replicate_commands() end -- before 7.0, what set_repl needs
redis.set_repl(redis.REPL_NONE)
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'begun', ARGV[3])
return {'OK'}
