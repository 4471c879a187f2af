-- Appends cells to a session, each cell id once.
--
-- KEYS 1 session (hash)  2 cells (stream)  3 ids (hash)  4 waiting (zset)  5 sessions (zset)
-- ARGV 1 prefix  2 session id  3 client id ('' = no reply wanted)  4 most pending cells
--      5 options (msgpack, of a new session)  6 largest body that is also put into the mailbox (bytes)
--      7 how many cells of one call are put there: the owner reads the others from their own stream, so that the many
--      cells of one session don't delay the first one of another
--      8 whether each cell runs only after the one before it 0|1: then a known cell can't follow a new one
--      then for each cell: cell id, body
-- Also touches P:worker:OWNER, its mailbox and its sessions set, for the owner it reads.
-- Includes queue.lua, for a session that begins to wait: also touches P:arq, P:arq:wake and arq:job:ID.
-- Includes options.lua
-- Includes tenant.lua, for a session of a tenant: also writes its P:tenant:TENANT, :sessions and :rate, and reads its :cpu.
-- Returns {'OK', last event, then for each cell: 'p', seq | 'd', seq, first event, last event}
--      or {'CLOSED'} or {'WEAKER', tier} (it exists, and asks for a weaker sandbox than these options: for this tier)
--      or {'FULL', pending, limit} or {'KNOWN', the known cell id that follows a new one}
--      or {'FAST', most cells a minute, how many cells are new, ms until so many may be submitted (0: never)}
--      or {'QUOTA', quota, what it would be at, its bound, in how many ms the same submit fits (-1: not by waiting alone)}
-- Invariant: seq grows by one per new cell id; a cell id that is known is the same cell, whatever its body says now.
--      An existing session keeps its options. A client that asks for a stronger sandbox than they do is refused, so that
--      its code doesn't run in a weaker one than it has asked for.
--      The session's own limits, in its options, hold for every client. Its field `rate` says how many more cells it
--      may get, and when that was: this number grows evenly, up to the limit for a minute.
--      A session without a live owner begins to wait, and is activated, in the step that accepts its first pending cell.
local session, cells, ids, waiting, sessions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, sid, client, most, inline = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local riding, is_chain = tonumber(ARGV[7]), ARGV[8] == '1'

local h = redis.call('HMGET', session, 'state', 'seq', 'cursor', 'last', 'owner', 'options', 'rate')
local state, seq, cursor, last, owner = h[1], tonumber(h[2] or 0), tonumber(h[3] or 0), tonumber(h[4] or 0), h[5]

local fresh, known = 0, {}
for i = 9, #ARGV, 2 do
  local entry = redis.call('HGET', ids, ARGV[i])
  if entry then
    if is_chain and fresh > 0 then return {'KNOWN', ARGV[i]} end
    known[ARGV[i]] = entry
  elseif known[ARGV[i]] == nil then -- an id that occurs twice is counted once
    fresh = fresh + 1
    known[ARGV[i]] = false
  end
end

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local limits, rate = option_in(state and h[6] or ARGV[5], 'limits'), nil
if type(limits) ~= 'table' then limits = {} end
if fresh > 0 then
  if state and state ~= 'open' then return {'CLOSED'} end
  local wanted = state and option_in(ARGV[5], 'sandbox')
  if wanted then
    local tier = option_in(h[6], 'sandbox')
    if not is_as_strong(tier, wanted) then return {'WEAKER', tier or 'none'} end
  end
  most = math.min(most, limits.pending_cells or most)
  if seq - cursor + fresh > most then return {'FULL', seq - cursor, most} end
  local per_minute = limits.cells_per_minute
  if per_minute then
    local left, at = string.match(h[7] or '', '^([%d.]+):(%d+)$')
    local elapsed = math.max(0, now - tonumber(at or now))
    left = math.min(per_minute, tonumber(left or per_minute) + elapsed * per_minute / 60000)
    if fresh > left then
      local wait = fresh <= per_minute and math.ceil((fresh - left) * 60000 / per_minute) or 0
      return {'FAST', per_minute, fresh, wait}
    end
    rate = string.format('%.4f:%.0f', left - fresh, now)
  end
end

local used_up -- until when the tenant's cells a minute are used up by these
if use and fresh > 0 then
  local quotas, used = read_quotas(), redis.call('HMGET', use, 'pending', 'bytes')
  local pending, bytes = tonumber(used[1] or 0) + fresh, tonumber(used[2] or 0)
  if pending > (quotas.max_pending or pending) then return {'QUOTA', 'max_pending', pending, quotas.max_pending, -1} end
  if bytes > (quotas.max_bytes or bytes) then return {'QUOTA', 'max_bytes', bytes, quotas.max_bytes, -1} end
  local a_day = quotas.cpu_seconds_a_day
  if a_day then
    local ms = tonumber(redis.call('GET', use .. ':cpu') or 0)
    if ms > a_day * 1000 then
      return {'QUOTA', 'cpu_seconds_a_day', math.ceil(ms / 1000), a_day, redis.call('PTTL', use .. ':cpu')}
    end
  end
  local a_minute = quotas.cells_a_minute
  if a_minute then -- each cell uses up its part of a minute, at most one minute in advance
    local before = tonumber(redis.call('GET', use .. ':rate') or 0)
    before = math.min(math.max(before, now), now + 60000) -- a later time was written before the clock was set back
    used_up = before + fresh * 60000 / a_minute
    local wait = used_up - now - 60000 - 0.001 -- a thousandth for what is lost in rounding
    if wait > 0 then
      local value = math.ceil((used_up - now) * a_minute / 60000 - 0.001)
      return {'QUOTA', 'cells_a_minute', value, a_minute, fresh > a_minute and -1 or math.ceil(wait)}
    end
  end
end
local alive = owner and owner ~= '' and redis.call('EXISTS', prefix .. ':worker:' .. owner) == 1
local mailbox = alive and (prefix .. ':worker:' .. owner .. ':mailbox')
if fresh > 0 and not state then
  redis.call('HSET', session, 'state', 'open', 'epoch', 0, 'cursor', 0, 'last', 0, 'owner', '', 'token', '',
    'losses', 0, 'options', ARGV[5], 'created_at', now)
  redis.call('ZADD', sessions, now, sid)
  if use then redis.call('ZADD', use .. ':sessions', now, sid) end
end

local reply = {'OK', last}
for i = 9, #ARGV, 2 do
  local cell, body, entry = ARGV[i], ARGV[i + 1], known[ARGV[i]]
  if not entry then
    seq = seq + 1
    entry = 'p:' .. seq .. ':' .. client
    known[cell] = entry
    redis.call('XADD', cells, seq .. '-0', 'c', cell, 'b', body, 't', now)
    redis.call('HSET', ids, cell, entry)
    riding = #body <= inline and riding - 1 or -1 -- cells after one that isn't in the mailbox would have to wait for it
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
  if rate then redis.call('HSET', session, 'rate', rate) end
  if use then add_use('pending', fresh) end
  if used_up then redis.call('PSETEX', use .. ':rate', math.ceil(used_up - now), string.format('%.3f', used_up)) end
  if alive and riding < 0 then redis.call('XADD', mailbox, 'MAXLEN', '~', 100000, '*', 'k', 'wake', 's', sid, 'q', seq) end
  if alive then
    redis.call('SADD', prefix .. ':worker:' .. owner .. ':sessions', sid) -- see recover.lua
  elseif redis.call('ZADD', waiting, 'NX', now, sid) == 1 then
    enqueue_activation(prefix, sid, t)
  end
end
return reply
