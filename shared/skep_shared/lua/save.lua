-- Writes a checkpoint apart from a commit: the state after a cell that has committed already.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)
-- ARGV 1 owner token  2 epoch  3 seq of the cell  4 manifest ('' = nothing has changed since the one before)
--      5 'void' for a cell that had no effect: it counts as saved if the one before does; '' for any other
--      then name and bytes of chunks ('' = stored before, and has to be there still)
-- Returns {'OK', seq} or {'DUP', saved} or {'FENCED', epoch} or {'GAP', cursor} (that cell has not committed, or a
--      chunk is gone: Redis has lost both)
-- Invariant: `saved` is the last cell whose effects a checkpoint holds, and only grows; the chunks a manifest names are
--      stored before or with it.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'cursor', 'saved')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2] or 0)} end
local seq = tonumber(ARGV[3])
if seq > tonumber(h[3]) then return {'GAP', tonumber(h[3])} end
local saved = tonumber(h[4] or 0)
if seq <= saved or (ARGV[5] == 'void' and seq ~= saved + 1) then return {'DUP', saved} end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 0 then return {'GAP', tonumber(h[3])} end
end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
if ARGV[4] ~= '' then
  redis.call('XADD', KEYS[2], seq .. '-0', 'm', ARGV[4])
  redis.call('HSET', KEYS[1], 'head', seq)
end
redis.call('HSET', KEYS[1], 'saved', seq)
return {'OK', seq}
