-- Creates sessions from a checkpoint, all or none. No chunk is copied: they read those of their origins.
--
-- KEYS 1 source session (hash)  2 its checkpoints (stream)  3 its pins (hash)  4 sessions (zset)
--      then for each new session: session (hash), checkpoints (stream)
-- ARGV 1 prefix  2 source id  3 when the source was created (ms), as the caller read it  4 the checkpoint, SEQ or
--      SEQ-PART
--      5 token of this request  6 the checkpoint's manifest, for the new sessions
--      7 the seals of the manifest for each of them, of equal length and in the same order ('' = none)
--      8 their options (msgpack): those of the source with a stronger sandbox ('' = those of the source)
--      then the new session ids
-- Also touches P:session:ORIGIN:pins of each of the source's own origins.
-- Includes options.lua
-- Includes tenant.lua, for sessions of a tenant: also touches its P:tenant:TENANT:sessions.
-- Returns {'OK'} or {'MISSING'} (that checkpoint is not stored, or the source is another session by now)
--      or {'WEAKER', tier} (these options ask for a weaker sandbox than the source does: for this tier)
--      or {'EXISTS', those of the new ids that are in use…}
-- Invariant: a new session's first cell has the seq after the checkpoint's. A new session asks for at least the sandbox
--      that its source asks for. From the same step on, the checkpoint is pinned in the source, and in each of its
--      origins the one that it was forked from: prune.lua retains pinned checkpoints, and purge.lua retains the sessions
--      that have them. Sent again with the same token it changes nothing.
local prefix, source, born, checkpoint, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local seq = string.match(checkpoint, '^%d+')
local h = redis.call('HMGET', KEYS[1], 'state', 'created_at', 'purged', 'options', 'origins')
local id = checkpoint == seq and seq .. '-0' or checkpoint
if not h[1] or h[2] ~= born or h[3] or #redis.call('XRANGE', KEYS[2], id, id) == 0 then return {'MISSING'} end
local options = h[4] or ''
if ARGV[8] ~= '' then
  local tier = option_in(options, 'sandbox')
  if not is_as_strong(option_in(ARGV[8], 'sandbox'), tier) then return {'WEAKER', tier} end
  options = ARGV[8]
end
local reply, is_done = {'EXISTS'}, false
for i = 9, #ARGV do
  local new = redis.call('HMGET', KEYS[2 * i - 13], 'state', 'forked_by')
  if new[2] == token then is_done = true elseif new[1] then reply[#reply + 1] = ARGV[i] end
end
if is_done then return {'OK'} end
if #reply > 1 then return reply end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local origins = source .. ':' .. checkpoint .. ':' .. born
if h[5] then origins = origins .. ' ' .. h[5] end
local seal = #ARGV[7] / (#ARGV - 8)
for i = 9, #ARGV do
  redis.call('HSET', KEYS[2 * i - 13], 'state', 'open', 'epoch', 0, 'seq', seq, 'cursor', seq, 'last', 0, 'owner', '',
    'token', '', 'losses', 0, 'options', options, 'head', checkpoint, 'created_at', now, 'active_at', now,
    'saved', seq, 'origins', origins, 'forked_by', token)
  redis.call('XADD', KEYS[2 * i - 12], id, 'm', string.sub(ARGV[7], (i - 9) * seal + 1, (i - 8) * seal) .. ARGV[6])
  redis.call('ZADD', KEYS[4], now, ARGV[i])
  if use then redis.call('ZADD', use .. ':sessions', now, ARGV[i]) end
  redis.call('HSET', KEYS[3], ARGV[i], checkpoint)
  for origin, pinned in string.gmatch(h[5] or '', '([^ :]+):([%d-]+):%d+') do
    redis.call('HSET', prefix .. ':session:' .. origin .. ':pins', ARGV[i], pinned)
  end
end
return {'OK'}
