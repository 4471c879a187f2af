-- Copies chunks from one session to another, a page at a time.
--
-- KEYS 1 blobs of the one (hash)  2 blobs of the other (hash)
-- ARGV names of chunks
-- Returns {'OK', chunks copied}
-- Invariant: chunks are addressed by content: copying one again changes nothing.
local found = redis.call('HMGET', KEYS[1], unpack(ARGV))
local copied = 0
for i, data in ipairs(found) do
  if data then
    redis.call('HSET', KEYS[2], ARGV[i], data)
    copied = copied + 1
  end
end
return {'OK', copied}
