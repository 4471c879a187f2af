-- Removes every key of a closed session, except what its forks still read.
--
-- KEYS 1 session (hash)  2 cells  3 ids  4 events  5 sessions (zset)  6 waiting (zset)  7 checkpoints  8 blobs
--      9 names  10 pins  11 purged (set)
-- ARGV 1 prefix  2 session id
-- Also touches P:named, and P:session:ORIGIN, its :checkpoints, :blobs and :pins, for each of the session's origins.
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT, :sessions and :resident.
-- Returns {'OK', whether anything was left to its forks 0|1} or {'OPEN', state}
-- Invariant: only a closed session is purged. With forks its hash, checkpoints, blobs and pins remain, and its id
--      remains in use; the purge of the last fork removes them. What the session has in a store is listed in `purged`
--      (id:created at) in the step that removes its last key, for a worker to remove.
local session = KEYS[1]
local h = redis.call('HMGET', session, 'state', 'origins', 'created_at', 'stored', 'bytes')
if h[1] and h[1] ~= 'closed' then return {'OPEN', h[1]} end
for origin in string.gmatch(h[2] or '', '([^ :]+):[%d-]+:%d+') do
  local key = ARGV[1] .. ':session:' .. origin
  redis.call('HDEL', key .. ':pins', ARGV[2])
  local o = redis.call('HMGET', key, 'purged', 'created_at', 'stored', 'bytes')
  if o[1] and redis.call('EXISTS', key .. ':pins') == 0 then
    redis.call('UNLINK', key, key .. ':checkpoints', key .. ':blobs')
    if use then add_use('bytes', -tonumber(o[4] or 0)) end -- its origins are of the same tenant
    if o[3] then redis.call('SADD', KEYS[11], origin .. ':' .. o[2]) end
  end
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[9])
redis.call('ZREM', KEYS[5], ARGV[2])
if use then
  redis.call('ZREM', use .. ':sessions', ARGV[2])
  redis.call('SREM', use .. ':resident', ARGV[2])
end
redis.call('ZREM', KEYS[6], ARGV[2])
redis.call('ZREM', ARGV[1] .. ':named', ARGV[2])
if redis.call('EXISTS', KEYS[10]) == 1 then
  redis.call('HDEL', session, 'origins') -- its pins in its origins are removed; its forks have their own
  redis.call('HSET', session, 'purged', 1)
  return {'OK', 1}
end
redis.call('UNLINK', session, KEYS[7], KEYS[8])
if use then add_use('bytes', -tonumber(h[5] or 0)) end
if h[4] then redis.call('SADD', KEYS[11], ARGV[2] .. ':' .. h[3]) end
return {'OK', 0}
