-- Removes a session's oldest events, a page at a time.
--
-- KEYS 1 session (hash)  2 events (stream)
-- ARGV 1 number of the first event to retain  2 most events to remove in this call
-- Returns {'OK', floor, whether there is more to remove 0|1} or {'UNKNOWN'}
-- Invariant: `floor` is the first event that is retained. It never decreases, and never exceeds `tail`, the first event
--      of the last committed cell: that cell and the pending ones retain all of their events. Sent again it removes at
--      most another page.
local h = redis.call('HMGET', KEYS[1], 'state', 'floor', 'tail')
if not h[1] then return {'UNKNOWN'} end
local floor = tonumber(h[2] or 1)
local wanted = math.min(tonumber(ARGV[1]), tonumber(h[3] or 1))
if wanted <= floor then return {'OK', floor, 0} end
local step = math.min(wanted, floor + tonumber(ARGV[2]))
redis.call('XTRIM', KEYS[2], 'MINID', step .. '-0') -- frees first: see emit.lua
redis.call('HSET', KEYS[1], 'floor', step)
return {'OK', step, step < wanted and 1 or 0}
