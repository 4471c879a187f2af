-- Extends the lease of the process that sends for a webhook, or ends it.
--
-- KEYS 1 its lease (string)
-- ARGV 1 token of the process  2 ms of the lease, 0 to end it
-- Returns {'OK'} or {'LOST'} (another process has the lease, or none)
-- Invariant: a lease that was lost is not taken again.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST'} end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {'OK'}
