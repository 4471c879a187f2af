-- Queues arq's job that submits a cell later, once.
--
-- KEYS 1 the job, arq:job:ID  2 its result, arq:result:ID
-- ARGV 1 prefix  2 job id  3 the job (msgpack)  4 'by' | 'until'  5 milliseconds: from now, or since 1970
-- Includes queue.lua: also touches P:arq and P:arq:wake.
-- Returns {'OK'} or {'DUP'} (the job is queued, runs, or ended so recently that its result still exists)
-- Invariant: as arq's own enqueue_job does with a job id: one job, which lives for a day after it is due.
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return {'DUP'} end
local t = redis.call('TIME')
local now, due = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[5])
if ARGV[4] == 'by' then due = now + due end
enqueue_job(ARGV[1], ARGV[2], ARGV[3], due, math.max(due - now, 0) + 86400000)
return {'OK'}
