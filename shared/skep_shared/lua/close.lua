-- Ends a session: it takes no more cells; its owner, or the next one, ends what is pending.
--
-- KEYS 1 session (hash)  2 events (stream)  3 waiting (zset)
-- ARGV 1 prefix  2 session id
-- Also touches P:named, and the owner's alive marker, mailbox and sessions set.
-- Returns {'UNKNOWN'} or {'CLOSED', last event} or {'CLOSING', last event, needs an activation 0|1}
-- Invariant: once not open, never open again. Without pending cells and live owner it is closed here, under a new
--      epoch, so that an owner that comes back from the dead is fenced.
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'seq', 'cursor', 'last', 'epoch')
if not h[1] then return {'UNKNOWN'} end
local last = tonumber(h[5])
if h[1] == 'closed' then return {'CLOSED', last} end
local marker = ARGV[1] .. ':worker:' .. h[2]
local alive = h[2] ~= '' and redis.call('EXISTS', marker) == 1
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
if alive then
  redis.call('HSET', KEYS[1], 'state', 'closing')
  redis.call('SADD', marker .. ':sessions', ARGV[2]) -- see recover.lua
  redis.call('XADD', marker .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', 'close', 's', ARGV[2], 'q', 0)
  return {'CLOSING', last, 0}
end
if h[3] == h[4] then
  local epoch = tonumber(h[6]) + 1
  local event = cmsgpack.pack({kind = 'session.closed', epoch = epoch, at = now})
  redis.call('XADD', KEYS[2], (last + 1) .. '-0', 'e', event)
  redis.call('HSET', KEYS[1], 'state', 'closed', 'owner', '', 'token', '', 'epoch', epoch, 'last', last + 1)
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('ZREM', ARGV[1] .. ':named', ARGV[2])
  if h[2] ~= '' then redis.call('SREM', marker .. ':sessions', ARGV[2]) end
  return {'CLOSED', last + 1}
end
redis.call('HSET', KEYS[1], 'state', 'closing')
return {'CLOSING', last, redis.call('ZADD', KEYS[3], 'NX', now, ARGV[2])}
