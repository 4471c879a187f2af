-- Part of the scripts that include it: puts jobs into the shard's arq queue.
--
-- Touches arq:job:ID (string + TTL: the job, msgpack), P:arq (zset: job id -> due, ms) and P:arq:wake (list + TTL).
-- Invariant: a job id begins with the prefix, so that arq's keys of the job are in the shard's cluster slot. The list
--      makes one waiting worker poll at once. It is bounded: more elements would only make workers poll an empty queue.
local function enqueue_job(prefix, id, job, due, lifetime)
  redis.call('PSETEX', 'arq:job:' .. id, lifetime, job)
  redis.call('ZADD', prefix .. ':arq', due, id)
  redis.call('LPUSH', prefix .. ':arq:wake', '1')
  redis.call('LTRIM', prefix .. ':arq:wake', 0, 99)
  redis.call('EXPIRE', prefix .. ':arq:wake', 60)
end

-- Queues the job that makes a session resident on some worker; `t` is what TIME returned. It is due a day ago: arq
-- compares that with the worker's clock, which may be hours off. It is packed here and not by the client, so that it
-- costs the client and the network nothing. The session id is a keyword argument, since cmsgpack packs an empty table
-- as an array, where arq needs a map.
local function enqueue_activation(prefix, sid, t)
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local job = cmsgpack.pack({f = 'activate', a = {}, k = {session_id = sid}, t = 0, et = now})
  enqueue_job(prefix, prefix .. ':activate:' .. sid .. ':' .. t[1] .. '-' .. t[2], job, now - 86400000, 3600000)
end
