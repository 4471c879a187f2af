-- Counts the processor time that a session of a tenant uses, for the tenant's quota of this day.
--
-- KEYS 1 session (hash)
-- ARGV 1 owner token  2 epoch  3 milliseconds that its processes have used since this owner has it
-- Includes tenant.lua: also touches its P:tenant:TENANT:cpu (string + TTL).
-- Returns {'OK'} or {'FENCED', epoch}
-- Invariant: `cpu` of a session is 'EPOCH:MS', what of this owner's time is counted; sent again it changes nothing. The
--      days are those of UTC, by Redis's clock. The count of a day ends with it.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'cpu')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
local epoch, counted = string.match(h[3] or '', '^(%d+):(%d+)$')
local more = tonumber(ARGV[3]) - (epoch == ARGV[2] and tonumber(counted) or 0)
if more <= 0 then return {'OK'} end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'cpu', ARGV[2] .. ':' .. ARGV[3])
if use then
  local t = redis.call('TIME')
  local left_ms = 86400000 - (t[1] * 1000 + math.floor(t[2] / 1000)) % 86400000
  local used = tonumber(redis.call('GET', use .. ':cpu') or 0)
  redis.call('PSETEX', use .. ':cpu', left_ms, string.format('%.0f', used + more))
end
return {'OK'}
