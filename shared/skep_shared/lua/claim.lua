-- Gives a session to a worker if nobody alive owns it.
--
-- KEYS 1 session (hash)  2 waiting (zset)  3 the worker's alive marker  4 the worker's sessions (set)
-- ARGV 1 prefix  2 session id  3 worker id  4 owner token (random, one per claim)
--      5 whether the worker puts chunks into a store 0|1: then a purge has them removed there
-- Also touches P:named, and P:worker:OWNER, its mailbox and its sessions set, for the owner it reads.
-- Returns {'OK', epoch, cursor, seq, last event, losses, previous owner, state, options,
--      head (the latest checkpoint, SEQ or SEQ-PART, 0: none), requests (see control.lua), created at (ms), origins (see fork.lua),
--      said (see emit.lua), idle losses, whether the owner before shut down with a cell that was started 0|1}
--      or {'OWNED', owner} or {'NOT_ALIVE'} or {'UNKNOWN'} or {'CLOSED'}
-- Invariant: epoch grows by one with every change of owner, in the same step as the owner and its token. Sent again
--      with the same token it answers the same. `losses` counts owners that died since the last commit; idle losses are
--      those among them that had begun no cell that is still pending: `begun` (see begin.lua) says which one they had.
local session, waiting, marker, owned = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, sid, wid, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', marker) == 0 then return {'NOT_ALIVE'} end
local h = redis.call('HMGET', session, 'state', 'owner', 'token', 'epoch', 'cursor', 'seq', 'last', 'losses', 'options', 'previous', 'holder', 'head', 'requests', 'created_at', 'origins', 'said', 'begun', 'idle_losses', 'handed')
local state, owner = h[1], h[2]
redis.call('ZREM', prefix .. ':named', sid)
if not state then
  redis.call('ZREM', waiting, sid)
  return {'UNKNOWN'}
end
if state == 'closed' then
  redis.call('ZREM', waiting, sid)
  return {'CLOSED'}
end
redis.call('ZREM', waiting, sid) -- whoever has it now; also frees first: see emit.lua
local epoch, losses, previous = tonumber(h[4]), tonumber(h[8]), h[10] or ''
local idle_losses = losses > 0 and tonumber(h[18] or 0) or 0
if not (owner == wid and h[3] == token) then
  if owner ~= '' and owner ~= wid and redis.call('EXISTS', prefix .. ':worker:' .. owner) == 1 then
    redis.call('XADD', prefix .. ':worker:' .. owner .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', 'wake', 's', sid, 'q', h[6])
    redis.call('SADD', prefix .. ':worker:' .. owner .. ':sessions', sid) -- see recover.lua
    return {'OWNED', owner}
  end
  if owner ~= '' then
    losses = losses + 1
    if tonumber(h[17] or 0) <= tonumber(h[5]) then idle_losses = idle_losses + 1 end
    redis.call('SREM', prefix .. ':worker:' .. owner .. ':sessions', sid)
  end
  -- `holder` outlives the release; `previous` is kept, so that a claim sent again gives the same.
  epoch, previous = epoch + 1, h[11] or ''
  redis.call('HSET', session, 'owner', wid, 'token', token, 'epoch', epoch, 'losses', losses, 'idle_losses', idle_losses, 'begun', 0, 'holder', wid, 'previous', previous)
  if ARGV[5] == '1' then redis.call('HSET', session, 'stored', 1) end
end
redis.call('SADD', owned, sid) -- also for a claim that is sent again: see recover.lua
return {'OK', epoch, tonumber(h[5]), tonumber(h[6]), tonumber(h[7]), losses, previous, state, h[9], h[12] or '0', h[13] or '', h[14] or '0', h[15] or '', h[16] or '', idle_losses, tonumber(h[19] or 0) == epoch - 1 and 1 or 0}
