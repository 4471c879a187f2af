-- Revokes a token of the gateway; its record is still listed for a while.
--
-- KEYS 1 tokens (zset)  2 the token's record (hash)
-- ARGV 1 token id  2 the tenant that it must have ('' = any)  3 ms for which it is still listed
-- Returns {'OK', revoked ms} or {'UNKNOWN'}
-- Invariant: a revoked token has no digest, so no secret fits it. Sent again it returns the same.
local record = redis.call('HMGET', KEYS[2], 'created', 'tenant', 'revoked')
if not record[1] or (ARGV[2] ~= '' and record[2] ~= ARGV[2]) then return {'UNKNOWN'} end
if record[3] then return {'OK', tonumber(record[3])} end
redis.call('HDEL', KEYS[2], 'digest') -- frees first: see emit.lua
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('HSET', KEYS[2], 'revoked', string.format('%.0f', now_ms))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms + ARGV[3]), ARGV[1])
return {'OK', now_ms}
