-- Records how far a webhook has come in sessions, or that an event could not be delivered.
--
-- KEYS 1 its lease (string)  2 its cursors (hash)  3 its failures (hash)  4 the webhook (hash)
-- ARGV 1 token of the process  2 why the webhook is disabled now ('' = it is not)
--      then for each session: SID, its cursor ('' = as before), the failure of its next event ('' = none)
-- Returns {'OK'} or {'LOST'} (another process has the lease, or none)
-- Invariant: only the process with the lease moves a cursor. A session with a moved cursor has no failure.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST'} end
for i = 3, #ARGV, 3 do
  redis.call('HDEL', KEYS[3], ARGV[i])
  if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
  if ARGV[i + 2] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2]) end
end
if ARGV[2] ~= '' then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[4], 'disabled', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)),
    'reason', ARGV[2])
end
return {'OK'}
