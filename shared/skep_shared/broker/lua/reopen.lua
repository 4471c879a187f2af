-- Makes a session open again whose close the owner has refused, because it is not signed.
--
-- KEYS 1 session (hash)
-- ARGV 1 owner token  2 epoch
-- Returns {'OK', whether it was closing 0|1} or {'FENCED', epoch}
-- Invariant: only the owner reopens a session, and only before it has ended anything.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'state')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
if h[3] ~= 'closing' then return {'OK', 0} end
redis.call('HDEL', KEYS[1], 'closed_by') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'state', 'open')
return {'OK', 1}
