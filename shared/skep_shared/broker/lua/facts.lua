-- Reads fields of sessions' hashes, the number of their known cell ids, and when they expire: one command for a page.
--
-- KEYS for each session: session (hash), ids (hash)
-- ARGV names of fields
-- Includes options.lua
-- Returns for each session: the fields' values, then the count of ids, then its option expires_in (s; '' = none)
local reply = {}
for i = 1, #KEYS, 2 do
  local row = redis.call('HMGET', KEYS[i], unpack(ARGV))
  row[#ARGV + 1] = redis.call('HLEN', KEYS[i + 1])
  row[#ARGV + 2] = tostring(option_in(redis.call('HGET', KEYS[i], 'options'), 'expires_in') or '')
  reply[#reply + 1] = row
end
return reply
