-- Removes a session that has a live owner from the waiting sessions.
--
-- KEYS 1 session (hash)  2 waiting (zset)
-- ARGV 1 session id  2 owner token  3 epoch  4 prefix
-- Also touches P:named, and P:worker:OWNER and its sessions set, for the owner it reads.
-- Returns {'OK', seq} or {'FENCED', epoch}
-- Invariant: only the owner, while it is alive, ends the wait for an owner; the call never changes the owner.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'seq', 'owner')
if h[1] ~= ARGV[2] or h[2] ~= ARGV[3] then return {'FENCED', tonumber(h[2]) or 0} end
local marker = ARGV[4] .. ':worker:' .. h[4]
if redis.call('EXISTS', marker) == 1 then -- otherwise this call came late, and its worker has died since
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', ARGV[4] .. ':named', ARGV[1])
  redis.call('SADD', marker .. ':sessions', ARGV[1]) -- see recover.lua
end
return {'OK', tonumber(h[3])}
