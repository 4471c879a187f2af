-- Says of which sessions Redis knows something else than who asks.
--
-- KEYS sessions (hashes), each one's
-- ARGV last submitted, cursor, last event, owner token, four for each session
-- Returns for each that differs, or is closing: {its place (from 1), last submitted, cursor, last event, token, state}
-- Invariant: writes nothing. All sessions are read at one time.
local reply = {}
for i, session in ipairs(KEYS) do
  local h, at = redis.call('HMGET', session, 'seq', 'cursor', 'last', 'token', 'state'), i * 4 - 4
  local seq, cursor, last, token, state = h[1] or '0', h[2] or '0', h[3] or '0', h[4] or '', h[5] or ''
  local is_same = seq == ARGV[at + 1] and cursor == ARGV[at + 2] and last == ARGV[at + 3] and token == ARGV[at + 4]
  if not is_same or state == 'closing' then
    reply[#reply + 1] = {i, tonumber(seq), tonumber(cursor), tonumber(last), token, state}
  end
end
return reply
