-- Queues activations: each makes a session resident on some worker.
--
-- ARGV 1 prefix  then the session ids
-- Includes queue.lua: touches P:arq, P:arq:wake and arq:job:ID of each new job.
-- Returns {'OK'}
-- Invariant: an activation of a session that needs none is harmless. A call that is sent again queues them again.
local t = redis.call('TIME')
for i = 2, #ARGV do enqueue_activation(ARGV[1], ARGV[i], t) end
return {'OK'}
