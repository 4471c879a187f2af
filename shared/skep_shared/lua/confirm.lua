-- Takes a session that has its owner off the waiting list.
--
-- KEYS 1 session (hash)  2 waiting (zset)
-- ARGV 1 session id  2 owner token  3 epoch  4 prefix
-- Also touches P:worker:OWNER:sessions of the owner it reads.
-- Returns {'OK', seq} or {'FENCED', epoch}
-- Invariant: only the owner says that nobody needs to be found; it never makes anybody the owner.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'seq', 'owner')
if h[1] ~= ARGV[2] or h[2] ~= ARGV[3] then return {'FENCED', tonumber(h[2] or 0)} end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SADD', ARGV[4] .. ':worker:' .. h[4] .. ':sessions', ARGV[1]) -- see recover.lua
return {'OK', tonumber(h[3])}
