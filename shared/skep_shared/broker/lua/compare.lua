-- Returns the sessions whose progress in Redis differs from what the caller knows.
--
-- KEYS the hash of each session
-- ARGV last submitted, cursor, last event, owner token, four for each session
-- Returns for each that differs, or is closing: {its place (from 1), last submitted, cursor, last event, token, state}
-- Invariant: writes nothing. All sessions are read at the same moment. A number that can't be read counts as 0, so that
--      the caller takes it for an earlier state, and the other sessions are compared all the same.
local reply = {}
for i, session in ipairs(KEYS) do
  local h, at = redis.call('HMGET', session, 'seq', 'cursor', 'last', 'token', 'state'), i * 4 - 4
  local seq, cursor, last, token, state = h[1] or '0', h[2] or '0', h[3] or '0', h[4] or '', h[5] or ''
  local is_same = seq == ARGV[at + 1] and cursor == ARGV[at + 2] and last == ARGV[at + 3] and token == ARGV[at + 4]
  if not is_same or state == 'closing' then
    reply[#reply + 1] = {i, tonumber(seq) or 0, tonumber(cursor) or 0, tonumber(last) or 0, token, state}
  end
end
return reply
