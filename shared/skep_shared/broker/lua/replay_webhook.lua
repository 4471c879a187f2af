-- Moves the cursor of a webhook in one session, so that events are sent again or left out.
--
-- KEYS 1 webhooks (hash)  2 its cursors (hash)  3 its failures (hash)  4 its lease (string)
-- ARGV 1 its full name  2 SID  3 the cursor
-- Returns {'OK'} or {'UNKNOWN'}
-- Invariant: the process that sends has lost the lease, so that it can't move the cursor back to where it was.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {'UNKNOWN'} end
redis.call('UNLINK', KEYS[4])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return {'OK'}
