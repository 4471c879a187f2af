"""Redis' clock, set to another time, on a real server: what it has stored is moved instead, which looks the same.

A server shows its clock in three places only: TIME, how long keys still have, and the times that scripts have stored.
An hour back, all that is stored lies an hour further ahead. (What waits in a blocking command is not moved.)
"""

from redis.asyncio import Redis

from skep_shared.keys import Keys

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
    """Have a shard see its server's clock jump by so much."""
    stamped = (keys.workers, keys.waiting, keys.sessions)
    await redis.eval(_MOVE, len(stamped), *stamped, keys.prefix, -by_ms)
