-- Closes a session that has not been used for long, so that it can be purged.
--
-- KEYS 1 session (hash)  2 events (stream)  3 waiting (zset)  4 sessions (zset)
-- ARGV 1 prefix  2 session id  3 how long it must have been idle (ms)
-- Also touches P:named, and the owner's alive marker and sessions set.
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT:sessions and :resident.
-- Returns {'CLOSED'} or {'KEPT'} or {'UNKNOWN'}
-- Invariant: a session is closed here only if nothing has been submitted or committed for that long, no cell is
--      pending, and it has no live owner. This is checked in the step that closes it, so a submit either comes before,
--      and prevents it, or after, and is refused. `expired` records that the session was closed here, and may be purged
--      at once. An entry of the index without a session is removed.
local session, sid = KEYS[1], ARGV[2]
local h = redis.call('HMGET', session, 'state', 'owner', 'seq', 'cursor', 'last', 'epoch', 'active_at', 'created_at', 'expired')
if not h[1] then
  redis.call('ZREM', KEYS[4], sid)
  if use then redis.call('ZREM', use .. ':sessions', sid) end
  return {'UNKNOWN'}
end
if h[9] then return {'CLOSED'} end
if h[1] ~= 'open' or h[3] and h[3] ~= h[4] then return {'KEPT'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if tonumber(h[7] or h[8]) > now - tonumber(ARGV[3]) then return {'KEPT'} end
local marker = ARGV[1] .. ':worker:' .. (h[2] or '')
if h[2] and h[2] ~= '' then
  if redis.call('EXISTS', marker) == 1 then return {'KEPT'} end
  redis.call('SREM', marker .. ':sessions', sid)
end
redis.call('ZREM', KEYS[3], sid) -- frees first: see emit.lua
redis.call('ZREM', ARGV[1] .. ':named', sid)
if use then redis.call('SREM', use .. ':resident', sid) end
local epoch, last = tonumber(h[6]) + 1, tonumber(h[5]) + 1
redis.call('XADD', KEYS[2], last .. '-0', 'e', cmsgpack.pack({kind = 'session.closed', epoch = epoch, at = now}))
redis.call('HSET', session, 'state', 'closed', 'expired', 1, 'owner', '', 'token', '', 'epoch', epoch, 'last', last)
return {'CLOSED'}
