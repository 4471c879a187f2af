-- Forgets the ids of cells that committed long ago.
--
-- KEYS 1 session (hash)  2 ids (hash)
-- ARGV 1 how many of the latest cells keep their ids  then cell ids to check
-- Returns {'OK', ids forgotten}
-- Invariant: only ids of cells that have committed are forgotten, and none of the latest ones. A forgotten id that is
--      submitted again is a new cell.
local cursor = tonumber(redis.call('HGET', KEYS[1], 'cursor') or 0)
local oldest = cursor - tonumber(ARGV[1])
local count = 0
for i = 2, #ARGV do
  local seq = string.match(redis.call('HGET', KEYS[2], ARGV[i]) or '', '^d:(%d+):')
  if seq and tonumber(seq) <= oldest then count = count + redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return {'OK', count}
