-- Sends a request to the worker that has the session.
--
-- KEYS 1 session (hash)  2 ids (hash)  3 waiting (zset)
-- ARGV 1 prefix  2 session id  3 kind of request  4 cell id ('' = the running one)
--      5 what it is about: 'cell' needs one that has not ended, 'process' an owner, who is found if there is none,
--      'stay' an owner that there is
--      then fields and values of the request
-- Also touches the owner's alive marker and mailbox.
-- Returns {'OK', owner} or {'UNKNOWN'} (no such session or cell) or {'IDLE'} (nothing runs: done, or no live owner)
--      or {'ABSENT', needs an activation 0|1} (nobody alive has the session, and the request needs somebody)
--      or {'KEPT', needs an activation 0|1} (nobody alive has the session; its next owner will find the request)
-- Invariant: a request names the cell it means by seq (0: the one running when it arrives), never the next one. An
--      interrupt or cancel of a named cell outlives the owner: it stands in the session, as ' SEQ:KIND' in `requests`,
--      until the cell has committed.
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
redis.call('HDEL', KEYS[1], '-') -- frees first: see emit.lua
local is_kept = ARGV[4] ~= '' and (ARGV[3] == 'interrupt' or ARGV[3] == 'cancel')
if is_kept then
  local wanted, kept = ' ' .. seq .. ':' .. ARGV[3], ''
  for request_seq, kind in string.gmatch(h[5] or '', '(%d+):(%a+)') do
    local request = ' ' .. request_seq .. ':' .. kind
    if tonumber(request_seq) > tonumber(h[4]) and request ~= wanted then kept = kept .. request end
  end
  redis.call('HSET', KEYS[1], 'requests', kept .. wanted)
end
local marker = ARGV[1] .. ':worker:' .. h[2]
if h[2] == '' or redis.call('EXISTS', marker) == 0 then
  if (ARGV[5] == 'cell' and ARGV[4] == '') or ARGV[5] == 'stay' or h[1] == 'closed' then return {'IDLE'} end
  local t = redis.call('TIME')
  return {is_kept and 'KEPT' or 'ABSENT', redis.call('ZADD', KEYS[3], 'NX', t[1] * 1000 + math.floor(t[2] / 1000), ARGV[2])}
end
redis.call('XADD', marker .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', ARGV[3], 's', ARGV[2], 'q', seq, unpack(ARGV, 6))
return {'OK', h[2]}
