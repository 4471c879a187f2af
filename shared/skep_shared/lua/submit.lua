-- Appends cells to a session, each cell id once.
--
-- KEYS 1 session (hash)  2 cells (stream)  3 ids (hash)  4 waiting (zset)  5 sessions (zset)
-- ARGV 1 prefix  2 session id  3 client id ('' = nobody waits for replies)  4 most pending cells
--      5 options (msgpack, taken when the session is new)  6 largest body that rides in the mailbox (bytes)
--      7 how many cells of one call ride there: the owner reads the others from their own stream, so that a session's
--      many cells don't stand in the way of another's first one
--      then for each cell: cell id, body
-- Also touches P:worker:OWNER, its mailbox and its sessions set, for the owner it reads.
-- Returns {'OK', last event, needs an activation 0|1, then for each cell: 'p', seq | 'd', seq, first event, last event}
--      or {'CLOSED'} or {'FULL', pending}
-- Invariant: seq grows by one per new cell id; a cell id that is known is the same cell, whatever its body says now.
local session, cells, ids, waiting, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, sid, client, most, inline = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local riding = tonumber(ARGV[7])

local h = redis.call('HMGET', session, 'state', 'seq', 'cursor', 'last', 'owner')
local state, seq, cursor, last, owner = h[1], tonumber(h[2] or 0), tonumber(h[3] or 0), tonumber(h[4] or 0), h[5]

local fresh, known = 0, {}
for i = 8, #ARGV, 2 do
  local entry = redis.call('HGET', ids, ARGV[i])
  if entry then known[ARGV[i]] = entry
  elseif known[ARGV[i]] == nil then -- an id that comes twice is counted once
    fresh = fresh + 1
    known[ARGV[i]] = false
  end
end
if fresh > 0 then
  if state and state ~= 'open' then return {'CLOSED'} end
  if seq - cursor + fresh > most then return {'FULL', seq - cursor} end
end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local alive = owner and owner ~= '' and redis.call('EXISTS', prefix .. ':worker:' .. owner) == 1
local mailbox = alive and (prefix .. ':worker:' .. owner .. ':mailbox')
if fresh > 0 and not state then
  redis.call('HSET', session, 'state', 'open', 'epoch', 0, 'cursor', 0, 'last', 0, 'owner', '', 'token', '',
    'losses', 0, 'options', ARGV[5], 'created_at', now)
  redis.call('ZADD', sessions, now, sid)
end

local reply = {'OK', last, 0}
for i = 8, #ARGV, 2 do
  local cell, body, entry = ARGV[i], ARGV[i + 1], known[ARGV[i]]
  if not entry then
    seq = seq + 1
    entry = 'p:' .. seq .. ':' .. client
    known[cell] = entry
    redis.call('XADD', cells, seq .. '-0', 'c', cell, 'b', body, 't', now)
    redis.call('HSET', ids, cell, entry)
    riding = #body <= inline and riding - 1 or -1 -- behind one that doesn't ride, others would have to wait
    if alive and riding >= 0 then
      redis.call('XADD', mailbox, 'MAXLEN', '~', 100000, '*', 'k', 'cell', 's', sid, 'q', seq, 'c', cell, 'b', body, 't', now)
    end
    reply[#reply + 1] = 'p'
    reply[#reply + 1] = seq
  else
    local known_seq, clients = string.match(entry, '^p:(%d+):(.*)$')
    if known_seq then
      if client ~= '' and not string.find(',' .. clients .. ',', ',' .. client .. ',', 1, true) then
        entry = 'p:' .. known_seq .. ':' .. (clients == '' and client or clients .. ',' .. client)
        known[cell] = entry
        redis.call('HSET', ids, cell, entry)
      end
      reply[#reply + 1] = 'p'
      reply[#reply + 1] = tonumber(known_seq)
    else
      local done_seq, first, final = string.match(entry, '^d:(%d+):(%d+):(%d+)$')
      reply[#reply + 1] = 'd'
      reply[#reply + 1] = tonumber(done_seq)
      reply[#reply + 1] = tonumber(first)
      reply[#reply + 1] = tonumber(final)
    end
  end
end
if fresh > 0 then
  redis.call('HSET', session, 'seq', seq, 'active_at', now)
  if alive and riding < 0 then redis.call('XADD', mailbox, 'MAXLEN', '~', 100000, '*', 'k', 'wake', 's', sid, 'q', seq) end
  if alive then
    redis.call('SADD', prefix .. ':worker:' .. owner .. ':sessions', sid) -- see recover.lua
  else
    reply[3] = redis.call('ZADD', waiting, 'NX', now, sid)
  end
end
return reply
