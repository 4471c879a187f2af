-- Names a checkpoint, which is then retained and can be found by the name; or removes its name.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 names (hash)
-- ARGV 1 the checkpoint, SEQ or SEQ-PART  2 its name ('' = none)  3 how many names a session may have
--      4 the signature of the name, kept in the session as `name:NAME` ('' = none)
-- Returns {'OK'} or {'UNKNOWN'} (no such checkpoint) or {'TAKEN', the checkpoint that has the name} or {'FULL', number of names}
-- Invariant: a checkpoint has one name at most, a name is of one checkpoint, and that one exists: prune.lua retains it.
if redis.call('HEXISTS', KEYS[1], 'purged') == 1 then return {'UNKNOWN'} end
local id = string.find(ARGV[1], '-') and ARGV[1] or ARGV[1] .. '-0'
if #redis.call('XRANGE', KEYS[2], id, id) == 0 then return {'UNKNOWN'} end
local before, count = false, 0
local names = redis.call('HGETALL', KEYS[3])
for i = 1, #names, 2 do
  if names[i + 1] == ARGV[1] then before = names[i] else count = count + 1 end
  if names[i] == ARGV[2] and names[i + 1] ~= ARGV[1] then return {'TAKEN', names[i + 1]} end
end
if ARGV[2] == before and ARGV[4] == '' then return {'OK'} end
if ARGV[2] ~= '' and count >= tonumber(ARGV[3]) then return {'FULL', count} end
if before then
  redis.call('HDEL', KEYS[3], before)
  redis.call('HDEL', KEYS[1], 'name:' .. before)
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], ARGV[1]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'name:' .. ARGV[2], ARGV[4]) end
return {'OK'}
