-- Ends a session: it accepts no more cells; its owner, or the next one, ends its pending cells.
--
-- KEYS 1 session (hash)  2 events (stream)  3 waiting (zset)
-- ARGV 1 prefix  2 session id  3 id of the key that the sender signs with  4 signature ('' = none, both)
--      5 whether to end it only if it is unused for longer than its option expires_in 0|1
-- Also touches P:named, and the owner's alive marker, mailbox and sessions set.
-- Includes options.lua
-- Includes queue.lua, for a session that begins to wait: also touches P:arq, P:arq:wake and arq:job:ID.
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT:resident.
-- Returns {'UNKNOWN'} or {'CLOSED', last event} or {'CLOSING', last event}
--      or {'USED'} (it is not unused for so long, has pending cells, is closing already, or never expires)
--      or {'UNSIGNED'} (the owner would refuse it: it has signing keys, and the sender's is none of them)
-- Invariant: once not open, never open again, except by reopen.lua. The signature is kept as `closed_by`, for an owner
--      that finds the session closing. Without pending cells and live owner it is closed here, under a new
--      epoch, so that an owner that was only taken for dead is fenced. Whether a session is unused is decided in the
--      step that ends it: a submit comes before, and prevents it, or after, and is refused.
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'seq', 'cursor', 'last', 'epoch', 'options', 'active_at', 'created_at')
if not h[1] then return {'UNKNOWN'} end
local last = tonumber(h[5])
if h[1] == 'closed' then return {'CLOSED', last} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[5] == '1' then
  local seconds = h[1] == 'open' and h[3] == h[4] and option_in(h[7], 'expires_in')
  if type(seconds) ~= 'number' or tonumber(h[8] or h[9]) > now - seconds * 1000 then return {'USED'} end
end
local marker = ARGV[1] .. ':worker:' .. h[2]
local facts = h[2] ~= '' and redis.call('HMGET', marker, 'at', 'keys') or {}
local alive = facts[1]
if facts[2] and not string.find(' ' .. facts[2] .. ' ', ' ' .. ARGV[3] .. ' ', 1, true) then return {'UNSIGNED'} end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
local signature, signed = {}, {}
if ARGV[4] ~= '' then signature, signed = {'z', ARGV[4]}, {'closed_by', ARGV[4]} end
if alive then
  redis.call('HSET', KEYS[1], 'state', 'closing', unpack(signed))
  redis.call('SADD', marker .. ':sessions', ARGV[2]) -- see recover.lua
  redis.call('XADD', marker .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', 'close', 's', ARGV[2], 'q', 0, unpack(signature))
  return {'CLOSING', last}
end
if h[3] == h[4] then
  local epoch = tonumber(h[6]) + 1
  local event = cmsgpack.pack({kind = 'session.closed', epoch = epoch, at = now})
  redis.call('XADD', KEYS[2], (last + 1) .. '-0', 'e', event)
  redis.call('HSET', KEYS[1], 'state', 'closed', 'owner', '', 'token', '', 'epoch', epoch, 'last', last + 1)
  redis.call('ZREM', KEYS[3], ARGV[2])
  if use then redis.call('SREM', use .. ':resident', ARGV[2]) end
  redis.call('ZREM', ARGV[1] .. ':named', ARGV[2])
  if h[2] ~= '' then redis.call('SREM', marker .. ':sessions', ARGV[2]) end
  return {'CLOSED', last + 1}
end
redis.call('HSET', KEYS[1], 'state', 'closing', unpack(signed))
if redis.call('ZADD', KEYS[3], 'NX', now, ARGV[2]) == 1 then enqueue_activation(ARGV[1], ARGV[2], t) end
return {'CLOSING', last}
