"""Waiting for Redis to come back: what is worth trying again, and how long to wait before."""

import random
from collections.abc import Iterator
from typing import Final

from redis.exceptions import RedisError

from skep_shared.connection import CONNECTION_ERRORS

FIRST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 1.0

# Everything the driver raises is worth another try here: a lost connection, BUSY, LOADING, READONLY during a failover,
# even OOM. What would not go away, a script's refusal, never comes as an error of the driver.
RETRIABLE: Final = (RedisError, *CONNECTION_ERRORS)


def backoff_delays() -> Iterator[float]:
    """Give seconds to wait: doubling from 20 ms to 1 s, each drawn from its upper half, so that workers spread."""
    delay = FIRST_SECONDS
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreading, not secrecy
        delay = min(delay * 2, LONGEST_SECONDS)
