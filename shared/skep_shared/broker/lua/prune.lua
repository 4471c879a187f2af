-- Removes checkpoints and the chunks that only they named.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)  4 names (hash)  5 pins (hash)
-- ARGV 1 owner token  2 epoch  3 number of this request, one more than that of the owner's last one (0: the only one)
--      4 seq of the newest checkpoint that the owner knows  5 count of checkpoints to remove, then each, SEQ or
--      SEQ-PART, then names of chunks to remove
-- Returns {'OK', chunks removed, checkpoints that are named or pinned…} or {'RETRY', 0, those and the head…}
--      or {'FENCED', epoch} or {'GAP', last event}
-- Invariant: only the owner prunes, and it knows every stored manifest: no chunk is removed that one of them names. A
--      checkpoint that has a name, that a fork started from, or that is the head, is never removed. The owner may not
--      know of that yet: then nothing at all is removed, and the reply says so. Each request removes once: a late copy
--      of a request that was sent again would remove chunks that have been stored again meanwhile. And nothing is
--      removed if Redis has gone back to a state before what the owner knows: older manifests are valid again there.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'head', 'pruned', 'cursor', 'last')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2]) or 0} end
if tonumber(h[5]) < tonumber(ARGV[4]) then return {'GAP', tonumber(h[6])} end
local count, is_protected, protected = tonumber(ARGV[5]), {}, {}
for place = 4, 5 do
  for _, checkpoint in ipairs(redis.call('HVALS', KEYS[place])) do
    if not is_protected[checkpoint] then
      is_protected[checkpoint] = true
      protected[#protected + 1] = checkpoint
    end
  end
end
local epoch, latest = string.match(h[4] or '', '^(%d+):(%d+)$')
if epoch == ARGV[2] and tonumber(ARGV[3]) > 0 and tonumber(ARGV[3]) <= tonumber(latest) then
  local reply = {'OK', 0}
  for _, checkpoint in ipairs(protected) do reply[#reply + 1] = checkpoint end
  return reply
end
for i = 6, 5 + count do
  if is_protected[ARGV[i]] or ARGV[i] == h[3] then
    local reply = {'RETRY', 0, h[3] or '0'}
    for _, checkpoint in ipairs(protected) do reply[#reply + 1] = checkpoint end
    return reply
  end
end
for i = 6, 5 + count do
  redis.call('XDEL', KEYS[2], string.find(ARGV[i], '-') and ARGV[i] or ARGV[i] .. '-0')
end
if tonumber(ARGV[3]) > 0 then redis.call('HSET', KEYS[1], 'pruned', ARGV[2] .. ':' .. ARGV[3]) end
local reply = {'OK', 0}
for i = 6 + count, #ARGV do reply[2] = reply[2] + redis.call('HDEL', KEYS[3], ARGV[i]) end
for _, checkpoint in ipairs(protected) do reply[#reply + 1] = checkpoint end
return reply
