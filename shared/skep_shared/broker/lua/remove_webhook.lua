-- Removes a webhook.
--
-- KEYS 1 webhooks (hash)  2 the webhook (hash)  3 its cursors (hash)  4 its failures (hash)  5 its lease (string)
-- ARGV 1 its full name
-- Returns {'OK'} or {'UNKNOWN'}
-- Invariant: nothing of it is left, and the process that sends for it has lost the lease.
local known = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return {known == 1 and 'OK' or 'UNKNOWN'}
