-- Writes a checkpoint outside of a commit: the state after a cell that has committed already.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)
-- ARGV 1 owner token  2 epoch  3 the checkpoint, SEQ or SEQ-PART  4 manifest ('' = nothing has changed since the one
--      before)  5 'void' for a cell that had no effect: it counts as saved if the one before does; 'last' for the state
--      of a process at its end, whatever is saved of that cell; '' for any other
--      then name and bytes of chunks ('' = stored before, and must still exist)
-- Returns {'OK', seq} or {'DUP', saved} or {'FENCED', epoch} or {'GAP', cursor} (that cell has not committed, or a
--      chunk does not exist: Redis has lost it)
-- Invariant: `saved` is the last cell whose effects a checkpoint has, and only grows; an existing checkpoint is
--      never written again; the chunks a manifest names are stored before or with it. A checkpoint that is saved late
--      has the effects of the cells up to its own: those after it that have committed without one remain unsaved.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'cursor', 'saved', 'unsaved')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
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
local is_behind = kind ~= 'last' and seq < tonumber(h[3])
redis.call('HDEL', KEYS[1], manifest ~= '' and not is_behind and 'unsaved' or '-') -- frees first: see emit.lua
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
if manifest ~= '' then
  redis.call('XADD', KEYS[2], id, 'm', manifest)
  redis.call('HSET', KEYS[1], 'head', checkpoint)
  if is_behind and h[5] then redis.call('HSET', KEYS[1], 'unsaved', math.max(seq + 1, tonumber(h[5]))) end
end
redis.call('HSET', KEYS[1], 'saved', math.max(seq, saved))
return {'OK', seq}
