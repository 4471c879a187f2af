-- Commits consecutive cells: their events, the cursor and the replies, in one step.
--
-- KEYS 1 session (hash)  2 events (stream)  3 cells (stream)  4 ids (hash)  5 checkpoints (stream)  6 blobs (hash)
-- ARGV 1 prefix  2 session id  3 owner token  4 epoch  5 cursor before  6 number of the first event
--      7 reply TTL (ms)  8 largest reply that carries its events (bytes)
--      9 the cell after them, if its process has begun it (see begin.lua), otherwise ''
--      then for each cell, in seq order: cell id, number of its first event, count of its events here, manifest of
--      its checkpoint ('' = the previous one is still as valid as it was; '=' = it is valid again; '!' = none could be
--      made), count of chunks here, bytes of its events that are written already ('' = more than a reply should carry),
--      those events, those chunks (name, bytes; '' = stored before, and must still exist)
-- Also touches P:client:CLIENT:replies of each client that waits for one of the cells.
-- Includes tenant.lua, for a session of a tenant: also touches its P:tenant:TENANT.
-- Returns {'OK', last event, cursor} or {'DUP', …} or {'GAP', last event, cursor} or {'FENCED', epoch}
-- Invariant: cursor and last event are compared and set together, so no commit is applied twice or skips output. A
--      cell is committed only if it is the pending one of its number: Redis may have lost it, and accepted another cell
--      under that number. The chunks a manifest names are stored before or with it.
local prefix, sid, ttl, inline = ARGV[1], ARGV[2], tonumber(ARGV[7]), tonumber(ARGV[8])
if not (ttl and ttl >= 1 and ttl <= 2 ^ 40 and ttl % 1 == 0) then return redis.error_reply('ERR no reply TTL: ' .. ARGV[7]) end
local session, events, cells, ids = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local h = redis.call('HMGET', session, 'token', 'epoch', 'last', 'cursor', 'seq', 'unsaved')
if h[1] ~= ARGV[3] or h[2] ~= ARGV[4] then return {'FENCED', tonumber(h[2]) or 0} end
local last, cursor = tonumber(h[3]), tonumber(h[4])
local cursor_before, first = tonumber(ARGV[5]), tonumber(ARGV[6])

local count, written, i, fits, waiting = 0, 0, 10, true, {}
while i <= #ARGV do
  local n = tonumber(ARGV[i + 2])
  local entry = redis.call('HGET', ids, ARGV[i]) or ''
  local seq, clients = string.match(entry, '^p:(%d+):(.*)$')
  fits = fits and seq == tostring(cursor_before + count + 1)
  waiting[count + 1] = clients
  local after = i + 6 + n + 2 * tonumber(ARGV[i + 4])
  for j = i + 6 + n, after - 1, 2 do
    if ARGV[j + 1] == '' then fits = fits and redis.call('HEXISTS', KEYS[6], ARGV[j]) == 1 end
  end
  count, written, i = count + 1, written + n, after
end
if cursor >= cursor_before + count and last >= first + written - 1 then return {'DUP', last, cursor} end
if cursor ~= cursor_before or last ~= first - 1 or cursor + count > tonumber(h[5]) or not fits then return {'GAP', last, cursor} end

-- Frees first: see emit.lua
redis.call('XTRIM', cells, 'MINID', (cursor + count + 1) .. '-0')
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

i = 10
local head -- the last one of this commit's checkpoints
local unsaved = h[6] -- the first cell whose effects are in no checkpoint
local tail -- events after it are not trimmed: see trim.lua
while i <= #ARGV do
  local cell, cell_first, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local manifest, blobs, size, here = ARGV[i + 3], tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), last + 1
  tail = cell_first
  i = i + 6
  for j = i, i + n - 1 do
    last = last + 1
    size = size and size + #ARGV[j]
    redis.call('XADD', events, last .. '-0', 'e', ARGV[j])
  end
  cursor = cursor + 1
  for j = i + n, i + n + 2 * blobs - 1, 2 do
    if ARGV[j + 1] ~= '' then redis.call('HSET', KEYS[6], ARGV[j], ARGV[j + 1]) end
  end
  if manifest == '!' then
    unsaved = unsaved or cursor
  elseif manifest == '=' then
    unsaved = nil
  elseif manifest ~= '' then
    unsaved = nil
    redis.call('XADD', KEYS[5], cursor .. '-0', 'm', manifest)
    head = cursor
  end
  redis.call('HSET', ids, cell, 'd:' .. cursor .. ':' .. cell_first .. ':' .. last)
  local before = here - tonumber(cell_first)
  local carries = size and size <= inline and before >= 0 and before + n <= 64
  local earlier = before <= 0 and {} or nil -- read once, and only for a client that waits
  for client in string.gmatch(waiting[cursor - cursor_before], '[^,]+') do
    local reply = {'c', cell, 's', sid, 'q', cursor, 'f', cell_first, 'l', last}
    if carries then
      earlier = earlier or redis.call('XRANGE', events, cell_first .. '-0', (here - 1) .. '-0')
      for _, entry in ipairs(earlier) do
        reply[#reply + 1] = 'e'
        reply[#reply + 1] = entry[2][2]
      end
      for j = i, i + n - 1 do
        reply[#reply + 1] = 'e'
        reply[#reply + 1] = ARGV[j]
      end
    end
    local key = prefix .. ':client:' .. client .. ':replies'
    redis.call('XADD', key, 'MAXLEN', '~', 100000, '*', unpack(reply))
    redis.call('PEXPIRE', key, ttl)
  end
  i = i + n + 2 * blobs
end
local now_so = {'last', last, 'cursor', cursor, 'tail', tail, 'losses', 0, 'active_at', now}
if head then
  now_so[#now_so + 1] = 'head'
  now_so[#now_so + 1] = head
end
if unsaved then
  now_so[#now_so + 1] = 'unsaved'
  now_so[#now_so + 1] = unsaved
elseif h[6] then
  redis.call('HDEL', session, 'unsaved')
end
if ARGV[9] ~= '' then
  now_so[#now_so + 1] = 'begun'
  now_so[#now_so + 1] = ARGV[9]
end
redis.call('HSET', session, unpack(now_so))
if use then add_use('pending', -count) end
return {'OK', last, cursor}
