-- Gives up the sessions of dead workers, a page at a time, and names the sessions that need an owner.
--
-- KEYS 1 workers (zset)  2 waiting (zset)
-- ARGV 1 prefix  2 silence after which a worker may be dead (ms)  3 page size
--      4 how long a session may wait before it is named again (ms)
-- Also touches P:named (zset: waiting session -> when it was named last), P:worker:WID, its mailbox and its sessions
--      set, and the hashes of those sessions.
-- Returns {dead workers seen, then the ids of sessions to activate}
-- Invariant: only a worker whose marker has expired counts as dead; its sessions keep their owner and epoch until a
--      claim changes both. A worker that was only suspended still owns them, but they are not in its set: each script
--      that sends it work, or finds it alive, adds the session there again. So a session with work is always in
--      `waiting` or in its owner's set. Also after a step of Redis's clock a worker that is silent for its lease is
--      dead. `waiting` has the time since when each session waits, however often it is named; named sessions are in
--      `named` for as long as they wait.
local workers, waiting, named = KEYS[1], KEYS[2], ARGV[1] .. ':named'
local prefix, silence, page, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- Times from before the clock was set back, perhaps by an hour: until then no worker would be dead, and no session wait.
for _, sid in ipairs(redis.call('ZRANGEBYSCORE', waiting, '(' .. now, '+inf', 'LIMIT', 0, page)) do
  redis.call('ZADD', waiting, 'XX', now - patience, sid)
end
redis.call('ZREMRANGEBYSCORE', named, '(' .. now, '+inf')
for _, wid in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. now, '+inf', 'LIMIT', 0, page)) do
  local marker = prefix .. ':worker:' .. wid
  local lease = tonumber(redis.call('HGET', marker, 'lease') or silence)
  if redis.call('PTTL', marker) > lease then redis.call('PEXPIRE', marker, lease) end
  redis.call('ZADD', workers, 'XX', now, wid)
end
local dead = 0
local suspects = redis.call('ZRANGEBYSCORE', workers, '-inf', now - silence, 'LIMIT', 0, page)
for _, wid in ipairs(suspects) do
  local base = prefix .. ':worker:' .. wid
  if redis.call('EXISTS', base) == 0 then
    dead = dead + 1
    redis.call('ZREM', waiting, '') -- frees first: see emit.lua
    local owned = redis.call('SRANDMEMBER', base .. ':sessions', page)
    for _, sid in ipairs(owned) do
      local session = prefix .. ':session:' .. sid
      local h = redis.call('HMGET', session, 'owner', 'seq', 'cursor', 'state')
      if h[1] == wid and (h[2] ~= h[3] or h[4] == 'closing') then redis.call('ZADD', waiting, 'NX', now - patience, sid) end
      redis.call('SREM', base .. ':sessions', sid)
    end
    if redis.call('SCARD', base .. ':sessions') == 0 then
      redis.call('DEL', base .. ':mailbox')
      redis.call('ZREM', workers, wid)
    end
  end
end
redis.call('ZREM', waiting, '') -- frees first: see emit.lua
local reply = {dead}
local told = {}
local function name(sid)
  redis.call('ZADD', named, now, sid)
  reply[#reply + 1] = sid
  told[sid] = true
end
-- First the sessions that were never named. Most of them are the last that have begun to wait: the search begins there.
local count, known = redis.call('ZCOUNT', waiting, '-inf', now - patience), redis.call('ZCARD', named)
local from, missing = math.min(known, count), count - known
for _ = 1, 20 do
  if missing <= 0 or #reply > page then break end
  local found = redis.call('ZRANGEBYSCORE', waiting, '-inf', now - patience, 'LIMIT', from, page)
  for _, sid in ipairs(found) do
    if #reply <= page and not redis.call('ZSCORE', named, sid) then
      name(sid)
      missing = missing - 1
    end
  end
  from = #found < page and 0 or from + page
end
for _, sid in ipairs(redis.call('ZRANGEBYSCORE', named, '-inf', now - patience, 'LIMIT', 0, page)) do
  if not redis.call('ZSCORE', waiting, sid) then redis.call('ZREM', named, sid)
  elseif #reply <= page and not told[sid] then name(sid) end
end
return reply
