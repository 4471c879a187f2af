-- Makes new sessions of a checkpoint, all or none. No chunk is copied: they read the ones of their origins.
--
-- KEYS 1 source session (hash)  2 its checkpoints (stream)  3 its pins (hash)  4 sessions (zset)
--      then for each new session: session (hash), checkpoints (stream)
-- ARGV 1 prefix  2 source id  3 when the source was created (ms), as the caller read it  4 the checkpoint, SEQ or
--      SEQ-PART
--      5 token of this request  6 the checkpoint's manifest, for the new sessions  then the new session ids
-- Also touches P:session:ORIGIN:pins of each of the source's own origins.
-- Returns {'OK'} or {'MISSING'} (that checkpoint is not kept, or the source is another one by now)
--      or {'EXISTS', those of the new ids that are taken…}
-- Invariant: a new session's first cell has the seq after the checkpoint's. From the same step on, the checkpoint is
--      pinned in the source, and in each of its origins the one that it was forked from: prune.lua keeps what is
--      pinned, purge.lua keeps whom it is pinned in. Sent again with the same token it changes nothing.
local prefix, source, born, checkpoint, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local seq = string.match(checkpoint, '^%d+')
local h = redis.call('HMGET', KEYS[1], 'state', 'created_at', 'purged', 'options', 'origins')
local id = checkpoint == seq and seq .. '-0' or checkpoint
if not h[1] or h[2] ~= born or h[3] or #redis.call('XRANGE', KEYS[2], id, id) == 0 then return {'MISSING'} end
local reply, is_done = {'EXISTS'}, false
for i = 7, #ARGV do
  local new = redis.call('HMGET', KEYS[2 * i - 9], 'state', 'forked_by')
  if new[2] == token then is_done = true elseif new[1] then reply[#reply + 1] = ARGV[i] end
end
if is_done then return {'OK'} end
if #reply > 1 then return reply end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local origins = source .. ':' .. checkpoint .. ':' .. born
if h[5] then origins = origins .. ' ' .. h[5] end
for i = 7, #ARGV do
  redis.call('HSET', KEYS[2 * i - 9], 'state', 'open', 'epoch', 0, 'seq', seq, 'cursor', seq, 'last', 0, 'owner', '',
    'token', '', 'losses', 0, 'options', h[4] or '', 'head', checkpoint, 'created_at', now, 'active_at', now,
    'saved', seq, 'origins', origins, 'forked_by', token)
  redis.call('XADD', KEYS[2 * i - 8], id, 'm', ARGV[6])
  redis.call('ZADD', KEYS[4], now, ARGV[i])
  redis.call('HSET', KEYS[3], ARGV[i], checkpoint)
  for origin, pinned in string.gmatch(h[5] or '', '([^ :]+):([%d-]+):%d+') do
    redis.call('HSET', prefix .. ':session:' .. origin .. ':pins', ARGV[i], pinned)
  end
end
return {'OK'}
