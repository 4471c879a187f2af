-- Releases a session, or ends it for good.
--
-- KEYS 1 session (hash)  2 the worker's sessions (set)  3 waiting (zset)  4 events (stream)
-- ARGV 1 session id  2 owner token  3 epoch  4 the closing event, packed ('' = the session continues)
--      5 number of that event  6 whether the first pending cell has been started here 0|1
--      7 whether it has not ended because the worker shuts down 0|1
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT:resident.
-- Returns {'OK', pending cells} or {'DUP'} or {'FENCED', epoch} or {'GAP', last event} or {'PENDING', pending cells}
-- Invariant: a released session has no owner; with pending cells, or closing, it is waiting for the next one. A session
--      is closed only when nothing is pending, in one step with its closing event. A pending cell that was started
--      counts as lost with its owner: the next start of it is another attempt. `handed` is the epoch of the
--      last owner that shut down with one.
local session, owned, waiting, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sid, token, epoch, event = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local h = redis.call('HMGET', session, 'token', 'epoch', 'owner', 'seq', 'cursor', 'last', 'released', 'state')
if h[7] == token then return {'DUP'} end
if h[1] ~= token or h[2] ~= epoch then return {'FENCED', tonumber(h[2]) or 0} end
local pending, last = tonumber(h[4]) - tonumber(h[5]), tonumber(h[6])
if event ~= '' then
  if pending > 0 then return {'PENDING', pending} end
  if last ~= tonumber(ARGV[5]) - 1 then return {'GAP', last} end
end
redis.call('SREM', owned, sid)
if use then redis.call('SREM', use .. ':resident', sid) end
if event ~= '' then
  redis.call('XADD', events, (last + 1) .. '-0', 'e', event)
  redis.call('HSET', session, 'owner', '', 'token', '', 'released', token, 'state', 'closed', 'last', last + 1)
else
  redis.call('HSET', session, 'owner', '', 'token', '', 'released', token)
  if ARGV[6] == '1' and pending > 0 then
    redis.call('HINCRBY', session, 'losses', 1)
    if ARGV[7] == '1' then redis.call('HSET', session, 'handed', epoch) end
  end
  if pending > 0 or h[8] == 'closing' then
    local t = redis.call('TIME')
    redis.call('ZADD', waiting, 'NX', t[1] * 1000 + math.floor(t[2] / 1000), sid)
  end
end
return {'OK', pending}
