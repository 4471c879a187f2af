"""Set the clock of a real Redis, by moving the stored times instead, which has the same effect.

A server shows its clock in three places only: TIME, the remaining life of keys, and the times that scripts stored.
After a step back by an hour, every stored time is an hour later. (Waits in blocking commands are not moved.)
"""

from redis.asyncio import Redis

from skep_shared.broker.keys import Keys

HOUR_MS = 3_600_000

_MOVE = """
local ahead = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left + ahead) end
end
for _, key in ipairs(KEYS) do
  local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do redis.call('ZADD', key, found[i + 1] + ahead, found[i]) end
end
"""


async def step_clock(redis: Redis, keys: Keys, by_ms: int) -> None:
    """Make a shard see its server's clock jump by this much."""
    stamped = (keys.workers, keys.waiting, keys.sessions)
    await redis.eval(_MOVE, len(stamped), *stamped, keys.prefix, -by_ms)
