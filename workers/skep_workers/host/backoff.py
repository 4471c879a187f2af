"""Waiting for Redis or the store to come back: what is worth trying again, and how long to wait before."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import structlog

from skep_shared.errors import RedisFull, StoreUnavailable
from skep_shared.foreign_errors import describe_error, reason_of
from skep_shared.redis_errors import REDIS_ERRORS, is_out_of_memory

T = TypeVar("T")

log = structlog.get_logger()

FIRST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 1.0
FIRST_FULL_SECONDS: Final = 0.25
LONGEST_FULL_SECONDS: Final = 2.0

# Everything the driver raises is worth another try here: a lost connection, BUSY, LOADING, READONLY during a failover,
# even OOM. What would not go away, a script's refusal, never comes as an error of the driver.
RETRIABLE: Final = REDIS_ERRORS


def backoff_delays() -> Iterator[float]:
    """Give seconds to wait: doubling from 20 ms to 1 s, each drawn from its upper half, so that workers spread."""
    delay = FIRST_SECONDS
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreading, not secrecy
        delay = min(delay * 2, LONGEST_SECONDS)


async def persist(call: Callable[[], Awaitable[T]], what: str, **context: str) -> T:
    """Await `call()` until Redis answers, however long that takes; only for what may be sent again.

    The bound on an outage is the lease's, which ends the worker and with it whoever waits here.
    """
    delays = backoff_delays()
    while True:
        try:
            return await call()
        except RETRIABLE as exc:
            log.warning("redis.retry", what=what, error=describe_error(exc), **context)
            await asyncio.sleep(next(delays))


async def persist_unless_full(seconds: float, call: Callable[[], Awaitable[T]], what: str, **context: str) -> T:
    """Await `call()` until Redis answers, as `persist` does. Raises RedisFull if it is that for `seconds`.

    Tries less and less often: what is sent may be large, and is refused as a whole.
    """
    delay, ends_at = FIRST_FULL_SECONDS, time.monotonic() + seconds

    async def call_unless_full() -> T:
        nonlocal delay
        while True:
            try:
                return await call()
            except RETRIABLE as exc:
                if not is_out_of_memory(exc):
                    raise
                log.warning("redis.full", what=what, error=describe_error(exc), **context)
                if time.monotonic() + delay >= ends_at:
                    raise RedisFull(reason_of(exc)) from exc
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_FULL_SECONDS)

    return await persist(call_unless_full, what, **context)


async def persist_within(seconds: float, call: Callable[[], Awaitable[T]], what: str, **context: str) -> T:
    """Await `call()` until the store of checkpoints answers. Raises StoreUnavailable if it has not after `seconds`.

    The lease says nothing about the store, so this wait has a bound of its own.
    """
    ends_at = time.monotonic() + seconds
    for delay in backoff_delays():
        try:
            return await call()
        except StoreUnavailable as exc:
            log.warning("store.retry", what=what, error=describe_error(exc), **context)
            if time.monotonic() >= ends_at:
                raise
            await asyncio.sleep(delay)
    raise AssertionError("the delays never end")
