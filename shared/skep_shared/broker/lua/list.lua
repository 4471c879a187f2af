-- Finds sessions: looks at one page of an index, the oldest first.
--
-- KEYS 1 the index (zset): P:sessions, or P:tenant:TENANT:sessions
-- ARGV 1 prefix  2 after which time of creation to begin (ms; '-inf' = with the oldest)  3 at how many to look
--      4 state ('' = any)  5 beginning of the ids ('' = any)  then names and values of labels: a session needs all
-- Also reads P:session:SID of each session that it looks at, if there is a state or a label.
-- Includes options.lua
-- Returns {after which time the next page begins ('' = this was the last page), then the ids of the sessions that match}
-- Invariant: writes nothing. A page ends with the last session of a millisecond, so that no session is left out and
--      none is returned twice, whatever is removed between two pages. So it may be longer, by the sessions that were
--      created in one millisecond: those of one fork.
local index, prefix, page = KEYS[1], ARGV[1], tonumber(ARGV[3])
local state, beginning = ARGV[4], ARGV[5]

local after = ARGV[2] == '-inf' and '-inf' or '(' .. ARGV[2]
local found = redis.call('ZRANGE', index, after, '+inf', 'BYSCORE', 'LIMIT', 0, page, 'WITHSCORES')
local last = found[#found] or ''
if #found < 2 * page then
  last = ''
else
  local start = #found
  while start > 0 and found[start] == last do start = start - 2 end
  for i = #found, start + 1, -1 do found[i] = nil end
  local same = redis.call('ZRANGE', index, last, last, 'BYSCORE')
  for _, sid in ipairs(same) do
    found[#found + 1] = sid
    found[#found + 1] = last
  end
end

local function matches(sid)
  if string.sub(sid, 1, #beginning) ~= beginning then return false end
  if state == '' and #ARGV < 6 then return true end
  local h = redis.call('HMGET', prefix .. ':session:' .. sid, 'state', 'options')
  if not h[1] or (state ~= '' and h[1] ~= state) then return false end
  if #ARGV < 6 then return true end
  local labels = option_in(h[2], 'labels')
  if type(labels) ~= 'table' then return false end
  for i = 6, #ARGV, 2 do
    if labels[ARGV[i]] ~= ARGV[i + 1] then return false end
  end
  return true
end

local reply = {last}
for i = 1, #found, 2 do
  if matches(found[i]) then reply[#reply + 1] = found[i] end
end
return reply
