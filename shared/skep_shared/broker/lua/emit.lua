-- Appends events of a running cell.
--
-- KEYS 1 session (hash)  2 events (stream)
-- ARGV 1 owner token  2 epoch  3 number of the first event
--      4 attempts of pending cells that events have announced, as 'SEQ:ATTEMPT …': the next owner's have higher numbers
--      then the events, packed
-- Returns {'OK', last event} or {'DUP', last event} or {'GAP', last event} or {'FENCED', epoch}
-- Invariant: event ids are dense; a batch is written whole and once; a stale owner writes nothing.
local session, events, first = KEYS[1], KEYS[2], tonumber(ARGV[3])
local h = redis.call('HMGET', session, 'token', 'epoch', 'last')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
local last = tonumber(h[3])
local count = #ARGV - 4
if last >= first + count - 1 then return {'DUP', last} end
if last ~= first - 1 then return {'GAP', last} end
-- A command that frees memory comes first: a script that has written may continue on a full server.
redis.call('HDEL', session, '-')
for i = 1, count do
  redis.call('XADD', events, (last + i) .. '-0', 'e', ARGV[4 + i])
end
redis.call('HSET', session, 'last', last + count, 'said', ARGV[4])
return {'OK', last + count}
