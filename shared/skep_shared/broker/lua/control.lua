-- Sends a request to the session's owner.
--
-- KEYS 1 session (hash)  2 ids (hash)  3 waiting (zset)
-- ARGV 1 prefix  2 session id  3 kind of request  4 cell id ('' = the running one)
--      5 what it is about: 'cell' needs a cell that has not ended, 'process' an owner (one is found if there is none),
--      'residency' an owner that exists already
--      6 id of the key that the sender signs with ('' = none)
--      then fields and values of the request; `z` is its signature
-- Also touches the owner's alive marker and mailbox.
-- Includes queue.lua, for a session that begins to wait: also touches P:arq, P:arq:wake and arq:job:ID.
-- Returns {'OK', owner} or {'UNKNOWN'} (no such session or cell) or {'IDLE'} (nothing runs: done, or no live owner)
--      or {'ABSENT'} (no live worker has the session, and the request needs one: an activation is queued)
--      or {'KEPT'} (no live worker has the session; its next owner will find the request)
--      or {'UNSIGNED'} (the owner would refuse the request: it has signing keys, and the sender's is none of them)
-- Invariant: a request names the cell it means by seq (0: the one running when it arrives), never the next one. An
--      interrupt or cancel of a named cell outlives the owner: it is stored in the session, as ' SEQ:KIND', with
--      ':SIGNATURE' after it if there is one, in `requests`, until the cell has committed.
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'seq', 'cursor', 'requests')
if not h[1] then return {'UNKNOWN'} end
local seq = 0
if ARGV[4] ~= '' then
  local entry = redis.call('HGET', KEYS[2], ARGV[4])
  if not entry then return {'UNKNOWN'} end
  seq = string.match(entry, '^p:(%d+):')
  if not seq then return {'IDLE'} end
elseif ARGV[5] == 'cell' and h[3] == h[4] then
  return {'IDLE'}
end
local marker = ARGV[1] .. ':worker:' .. h[2]
local alive = h[2] ~= '' and redis.call('HMGET', marker, 'at', 'keys') or {}
if alive[2] and not string.find(' ' .. alive[2] .. ' ', ' ' .. ARGV[6] .. ' ', 1, true) then return {'UNSIGNED'} end
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
local is_kept = ARGV[4] ~= '' and (ARGV[3] == 'interrupt' or ARGV[3] == 'cancel')
if is_kept then
  local wanted, kept = ' ' .. seq .. ':' .. ARGV[3], ''
  for request_seq, kind, signature in string.gmatch(h[5] or '', '(%d+):(%a+)(%S*)') do
    local request = ' ' .. request_seq .. ':' .. kind
    if tonumber(request_seq) > tonumber(h[4]) and request ~= wanted then kept = kept .. request .. signature end
  end
  for i = 7, #ARGV, 2 do
    if ARGV[i] == 'z' then wanted = wanted .. ':' .. ARGV[i + 1] end
  end
  redis.call('HSET', KEYS[1], 'requests', kept .. wanted)
end
if not alive[1] then
  if (ARGV[5] == 'cell' and ARGV[4] == '') or ARGV[5] == 'residency' or h[1] == 'closed' then return {'IDLE'} end
  local t = redis.call('TIME')
  if redis.call('ZADD', KEYS[3], 'NX', t[1] * 1000 + math.floor(t[2] / 1000), ARGV[2]) == 1 then
    enqueue_activation(ARGV[1], ARGV[2], t)
  end
  return {is_kept and 'KEPT' or 'ABSENT'}
end
redis.call('XADD', marker .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', ARGV[3], 's', ARGV[2], 'q', seq, unpack(ARGV, 7))
return {'OK', h[2]}
