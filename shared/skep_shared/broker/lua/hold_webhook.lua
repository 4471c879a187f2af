-- Makes a process the only one that sends for a webhook.
--
-- KEYS 1 webhooks (hash)  2 the webhook (hash)  3 its lease (string)
-- ARGV 1 its full name  2 what it asks for, as this process has read it  3 token of the process  4 ms of the lease
-- Returns {'OK'} or {'HELD'} (another process sends) or {'STALE'} (it asks for something else now) or {'DISABLED'}
-- Invariant: at most one token is in the lease, and its process sends what the webhook asks for now.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {'STALE'} end
if redis.call('HEXISTS', KEYS[2], 'disabled') == 1 then return {'DISABLED'} end
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[3] then return {'HELD'} end
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
return {'OK'}
