-- Writes a checkpoint apart from a commit: the state after a cell that has committed already.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)
-- ARGV 1 owner token  2 epoch  3 the checkpoint, SEQ or SEQ-PART  4 manifest ('' = nothing has changed since the one
--      before)  5 'void' for a cell that had no effect: it counts as saved if the one before does; 'last' for what a
--      process leaves behind, however much of that cell is saved; '' for any other
--      then name and bytes of chunks ('' = stored before, and has to be there still)
-- Returns {'OK', seq} or {'DUP', saved} or {'FENCED', epoch} or {'GAP', cursor} (that cell has not committed, or a
--      chunk is gone: Redis has lost both)
-- Invariant: `saved` is the last cell whose effects a checkpoint holds, and only grows; a checkpoint that is there is
--      never written again; the chunks a manifest names are stored before or with it.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'cursor', 'saved')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2] or 0)} end
local checkpoint, manifest, kind = ARGV[3], ARGV[4], ARGV[5]
local seq, saved = tonumber(string.match(checkpoint, '^%d+')), tonumber(h[4] or 0)
local id = string.find(checkpoint, '-') and checkpoint or checkpoint .. '-0'
if seq > tonumber(h[3]) then return {'GAP', tonumber(h[3])} end
if kind == 'last' then
  if manifest == '' or #redis.call('XRANGE', KEYS[2], id, id) > 0 then return {'DUP', saved} end
elseif seq <= saved or (kind == 'void' and seq ~= saved + 1) then
  return {'DUP', saved}
end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 0 then return {'GAP', tonumber(h[3])} end
end
redis.call('HDEL', KEYS[1], manifest ~= '' and 'unsaved' or '-') -- frees first: see emit.lua
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
if manifest ~= '' then
  redis.call('XADD', KEYS[2], id, 'm', manifest)
  redis.call('HSET', KEYS[1], 'head', checkpoint)
end
redis.call('HSET', KEYS[1], 'saved', math.max(seq, saved))
return {'OK', seq}
