-- Finds a cell, and while it is pending subscribes a client to its outcome.
--
-- KEYS 1 session (hash)  2 ids (hash)
-- ARGV 1 cell id  2 client id ('' = no subscription)
-- Returns {'UNKNOWN'} or {'PENDING', seq, last event of the session, cursor} or {'DONE', seq, first event, last event}
-- Invariant: after PENDING the client gets one reply, when the cell commits.
local entry = redis.call('HGET', KEYS[2], ARGV[1])
if not entry then return {'UNKNOWN'} end
local seq, clients = string.match(entry, '^p:(%d+):(.*)$')
if not seq then
  local done, first, final = string.match(entry, '^d:(%d+):(%d+):(%d+)$')
  return {'DONE', tonumber(done), tonumber(first), tonumber(final)}
end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
if ARGV[2] ~= '' and not string.find(',' .. clients .. ',', ',' .. ARGV[2] .. ',', 1, true) then
  redis.call('HSET', KEYS[2], ARGV[1], 'p:' .. seq .. ':' .. (clients == '' and ARGV[2] or clients .. ',' .. ARGV[2]))
end
local h = redis.call('HMGET', KEYS[1], 'last', 'cursor')
return {'PENDING', tonumber(seq), tonumber(h[1] or 0), tonumber(h[2] or 0)}
