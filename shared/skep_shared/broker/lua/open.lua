-- Creates a session without cells, if it doesn't exist.
--
-- KEYS 1 session (hash)  2 sessions (zset)
-- ARGV 1 session id  2 options (msgpack)
-- Includes options.lua
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT:sessions.
-- Returns {'OK'} or {'DUP'} (it exists)
--      or {'WEAKER', tier} (it exists, and asks for a weaker sandbox than these options: for this tier)
-- Invariant: an existing session is unchanged; a new one is as submit.lua creates it, before its first cell.
local h = redis.call('HMGET', KEYS[1], 'state', 'options')
if h[1] then
  local tier = option_in(h[2], 'sandbox')
  if not is_as_strong(tier, option_in(ARGV[2], 'sandbox')) then return {'WEAKER', tier or 'none'} end
  return {'DUP'}
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'open', 'epoch', 0, 'seq', 0, 'cursor', 0, 'last', 0, 'owner', '', 'token', '',
  'losses', 0, 'options', ARGV[2], 'created_at', now, 'active_at', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
if use then redis.call('ZADD', use .. ':sessions', now, ARGV[1]) end
return {'OK'}
