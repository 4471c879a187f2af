-- Changes options of a session that may change after its creation, and notifies its owner.
--
-- KEYS 1 session (hash)
-- ARGV 1 prefix  2 session id  3 SHA-1 of the options that the sender has read (hex)  4 the changed options (msgpack)
--      5 id of the key that the sender signs with ('' = none)
--      then fields and values of the request to the owner; `z` is its signature
-- Also touches the owner's alive marker and mailbox.
-- Returns {'OK', owner ('' = no live one)} or {'UNKNOWN'} or {'CLOSED'} (it is closing or closed)
--      or {'CHANGED'} (its options are others by now: read them again)
--      or {'UNSIGNED'} (the owner would refuse the request: it has signing keys, and the sender's is none of them)
-- Invariant: of two senders that have read the same options, one gets CHANGED, so no change is lost. Options are
--      packed by clients only: cmsgpack can't tell an empty map from an empty list. A call that is sent again
--      notifies the owner again. An owner whose lease has run out is not notified: its next claim reads the options.
if #ARGV < 5 or #ARGV % 2 == 0 then return redis.error_reply('ERR no options, or a field without a value') end
local h = redis.call('HMGET', KEYS[1], 'state', 'owner', 'options')
if not h[1] then return {'UNKNOWN'} end
if h[1] ~= 'open' then return {'CLOSED'} end
local options = h[3] or ''
if options ~= ARGV[4] and redis.sha1hex(options) ~= ARGV[3] then return {'CHANGED'} end
local marker = ARGV[1] .. ':worker:' .. h[2]
local alive = h[2] ~= '' and redis.call('HMGET', marker, 'at', 'keys') or {}
if alive[2] and not string.find(' ' .. alive[2] .. ' ', ' ' .. ARGV[5] .. ' ', 1, true) then return {'UNSIGNED'} end
redis.call('HSET', KEYS[1], 'options', ARGV[4])
if not alive[1] then return {'OK', ''} end
redis.call('XADD', marker .. ':mailbox', 'MAXLEN', '~', 100000, '*', 'k', 'update', 's', ARGV[2], 'q', 0, unpack(ARGV, 6))
return {'OK', h[2]}
