-- Reads what sessions' hashes say, and how many cell ids each knows: one command for a page of them.
--
-- KEYS for each session: session (hash), ids (hash)
-- ARGV names of fields
-- Returns for each session: the fields' values, then the count of ids
local reply = {}
for i = 1, #KEYS, 2 do
  local row = redis.call('HMGET', KEYS[i], unpack(ARGV))
  row[#ARGV + 1] = redis.call('HLEN', KEYS[i + 1])
  reply[#reply + 1] = row
end
return reply
