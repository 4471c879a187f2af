-- Joins a shard: returns what all its workers share, or writes it if this is the first worker.
--
-- KEYS 1 shard (hash)  2 workers (zset)
-- ARGV 1 prefix  2 worker id  3 shard id (random)  4 directory  5 hash seed
--      6 whether the operator chose the directory 0|1  7 number of this worker's data layout
-- Also reads P:worker:WID of every other worker.
-- Returns {'OK', shard id, directory, hash seed} or {'LAYOUT', number of the stored layout ('' = it has none)}
-- Invariant: the id, the seed and the layout never change while the key exists. The directory changes only to one that an operator
--      chose, and only while no other worker lives. Sent again it returns the same.
local shard, workers, directory = KEYS[1], KEYS[2], ARGV[4]
if redis.call('EXISTS', shard) == 0 then
  redis.call('HSET', shard, 'id', ARGV[3], 'directory', directory, 'hash_seed', ARGV[5], 'layout', ARGV[7])
end
local layout = redis.call('HGET', shard, 'layout')
if layout ~= ARGV[7] then return {'LAYOUT', layout or ''} end
if ARGV[6] == '1' and redis.call('HGET', shard, 'directory') ~= directory then
  local is_alone = true
  for _, worker in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
    if worker ~= ARGV[2] and redis.call('EXISTS', ARGV[1] .. ':worker:' .. worker) == 1 then is_alone = false end
  end
  if is_alone then redis.call('HSET', shard, 'directory', directory) end
end
local h = redis.call('HMGET', shard, 'id', 'directory', 'hash_seed')
return {'OK', h[1], h[2], h[3]}
