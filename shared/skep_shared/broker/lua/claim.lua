-- Makes a worker the owner of a session that has no live owner.
--
-- KEYS 1 session (hash)  2 waiting (zset)  3 the worker's alive marker  4 the worker's sessions (set)
-- ARGV 1 prefix  2 session id  3 worker id  4 owner token (random, one per claim)
--      5 whether the worker puts chunks into a store 0|1: then a purge has them removed there
--      6 the tier of its sandbox
-- Also touches P:named, and P:worker:OWNER, its mailbox and its sessions set, for the owner it reads.
-- Includes options.lua
-- Includes tenant.lua, for a session of a tenant: also touches P:tenants and its P:tenant:TENANT:resident.
-- Returns {'OK', epoch, cursor, seq, last event, losses, previous owner, state, options,
--      head (the latest checkpoint, SEQ or SEQ-PART, 0: none), requests (see control.lua), created at (ms), origins (see fork.lua),
--      said (see emit.lua), idle losses, whether the owner before shut down with a cell that was started 0|1}
--      or {'OWNED', owner} or {'NOT_ALIVE'} or {'UNKNOWN'} or {'CLOSED'}
--      or {'WEAKER', tier} (the session asks for at least this tier, and the worker's is weaker: it waits on)
--      or {'QUOTA'} (as many sessions of the tenant have an owner as its quota permits: this one waits on, unless it is to be closed)
-- Invariant: epoch grows by one with every change of owner, in the same step as the owner and its token. Sent again
--      with the same token it returns the same. No worker becomes the owner of a session that asks for a stronger sandbox
--      than it has. `losses` counts owners that died since the last commit; idle losses are
--      those among them that had begun no cell that is still pending: `begun` (see begin.lua) is the one they had begun.

-- Returns whether as many sessions of the tenant have an owner as its quota permits. Those of dead workers, which count
-- until they are found here, are looked for among a hundred at a time.
local function is_full(prefix)
  local most, resident = read_quotas().max_resident, use .. ':resident'
  if not most or redis.call('SCARD', resident) < most then return false end
  for _, sid in ipairs(redis.call('SRANDMEMBER', resident, 100)) do
    local owner = redis.call('HGET', prefix .. ':session:' .. sid, 'owner') or ''
    if owner == '' or redis.call('EXISTS', prefix .. ':worker:' .. owner) == 0 then redis.call('SREM', resident, sid) end
  end
  return redis.call('SCARD', resident) >= most
end

local session, waiting, marker, owned = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, sid, wid, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', marker) == 0 then return {'NOT_ALIVE'} end
local h = redis.call('HMGET', session, 'state', 'owner', 'token', 'epoch', 'cursor', 'seq', 'last', 'losses', 'options', 'previous', 'holder', 'head', 'requests', 'created_at', 'origins', 'said', 'begun', 'idle_losses', 'handed')
local state, owner = h[1], h[2]
local changes = not (owner == wid and h[3] == token)
local lives = changes and state and owner ~= '' and owner ~= wid and redis.call('EXISTS', prefix .. ':worker:' .. owner) == 1
local wanted = option_in(h[9], 'sandbox')
if state and state ~= 'closed' and changes and not lives and not is_as_strong(ARGV[6], wanted) then
  return {'WEAKER', wanted}
end
if use and state == 'open' and changes and not lives then
  if redis.call('SISMEMBER', use .. ':resident', sid) == 0 and is_full(prefix) then return {'QUOTA'} end
end
redis.call('ZREM', prefix .. ':named', sid)
redis.call('ZREM', waiting, sid) -- it has an owner from here on, or needs none; also frees first: see emit.lua
if not state then return {'UNKNOWN'} end
if state == 'closed' then return {'CLOSED'} end
local epoch, losses, previous = tonumber(h[4]), tonumber(h[8]), h[10] or ''
local idle_losses = losses > 0 and tonumber(h[18] or 0) or 0
if changes then
  if lives then
    redis.call('XADD', prefix .. ':worker:' .. owner .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', 'wake', 's', sid, 'q', h[6])
    redis.call('SADD', prefix .. ':worker:' .. owner .. ':sessions', sid) -- see recover.lua
    return {'OWNED', owner}
  end
  if owner ~= '' then
    losses = losses + 1
    if tonumber(h[17] or 0) <= tonumber(h[5]) then idle_losses = idle_losses + 1 end
    redis.call('SREM', prefix .. ':worker:' .. owner .. ':sessions', sid)
  end
  -- `holder` outlives the release; `previous` is stored, so that a claim that is sent again returns the same.
  epoch, previous = epoch + 1, h[11] or ''
  redis.call('HSET', session, 'owner', wid, 'token', token, 'epoch', epoch, 'losses', losses, 'idle_losses', idle_losses, 'begun', 0, 'holder', wid, 'previous', previous)
  if ARGV[5] == '1' then redis.call('HSET', session, 'stored', 1) end
end
redis.call('SADD', owned, sid) -- also for a claim that is sent again: see recover.lua
if use then redis.call('SADD', use .. ':resident', sid) end
return {'OK', epoch, tonumber(h[5]), tonumber(h[6]), tonumber(h[7]), losses, previous, state, h[9], h[12] or '0', h[13] or '', h[14] or '0', h[15] or '', h[16] or '', idle_losses, tonumber(h[19] or 0) == epoch - 1 and 1 or 0}
