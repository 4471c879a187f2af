-- Appends the answer to an operation to its client's replies, also on a full server, which refuses plain writes.
--
-- KEYS 1 the client's replies (stream)
-- ARGV 1 reply TTL (ms)  2 operation id  3 kind of answer  4 the answer, encoded
-- Returns {'OK'}
-- Invariant: none; a call that is sent again appends twice, and the client uses the first one.
redis.call('PEXPIRE', KEYS[1], ARGV[1]) -- a write that needs no memory comes first: see emit.lua
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 100000, '*', 'o', ARGV[2], 'x', ARGV[3], 'd', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {'OK'}
