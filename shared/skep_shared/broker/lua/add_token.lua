-- Stores a token of the gateway. Of its secret only a digest arrives here.
--
-- KEYS 1 tokens (zset)  2 the token's record (hash)
-- ARGV 1 token id  2 SHA-256 of its secret, hex  3 tenant ('' = none)  4 rights, with commas  5 name
--      6 lifetime in ms (0 = for ever)  7 how many tokens the shard may have  8 ms for which an expired one is listed
-- Returns {'OK', created ms, expires ms (0 = never)} or {'TAKEN'} (another token has this id) or {'FULL', number of tokens}
-- Invariant: the index has the token exactly while its record exists. Sent again it returns the same.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('HMGET', KEYS[2], 'digest', 'created', 'expires')
if known[1] == ARGV[2] then return {'OK', tonumber(known[2]), tonumber(known[3])} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'TAKEN'} end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms))
local count = redis.call('ZCARD', KEYS[1])
if count >= tonumber(ARGV[7]) then return {'FULL', count} end
local lifetime = tonumber(ARGV[6])
local expires = lifetime > 0 and now_ms + lifetime or 0
redis.call('HSET', KEYS[2], 'digest', ARGV[2], 'tenant', ARGV[3], 'can', ARGV[4], 'name', ARGV[5],
  'created', string.format('%.0f', now_ms), 'expires', string.format('%.0f', expires))
local removal = '+inf'
if expires > 0 then
  removal = string.format('%.0f', expires + ARGV[8])
  redis.call('PEXPIRE', KEYS[2], string.format('%.0f', lifetime + ARGV[8]))
end
redis.call('ZADD', KEYS[1], removal, ARGV[1])
return {'OK', now_ms, expires}
