-- Removes old checkpoints and the chunks that only they named.
--
-- KEYS 1 session (hash)  2 checkpoints (stream)  3 blobs (hash)
-- ARGV 1 owner token  2 epoch  3 seq of the oldest checkpoint to keep  then names of chunks to remove
-- Returns {'OK', chunks removed} or {'FENCED', epoch}
-- Invariant: only the owner prunes, and it knows every manifest that is kept: no chunk goes that one of them names. The
--      head is always kept.
local h = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'head')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'FENCED', tonumber(h[2] or 0)} end
if tonumber(h[3] or 0) < tonumber(ARGV[3]) then return {'OK', 0} end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3] .. '-0')
local removed = 0
for i = 4, #ARGV do removed = removed + redis.call('HDEL', KEYS[3], ARGV[i]) end
return {'OK', removed}
