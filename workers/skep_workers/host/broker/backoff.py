"""Waiting for Redis or the store to come back: which errors are retried, and how long to wait between tries."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import structlog

from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS, is_out_of_memory, is_script_failure
from skep_shared.errors import ProtocolError, RedisFull, StoreUnavailable
from skep_shared.foreign_errors import describe_error, reason_of

T = TypeVar("T")

log = structlog.get_logger()

FIRST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 1.0
FIRST_FULL_SECONDS: Final = 0.25
LONGEST_FULL_SECONDS: Final = 2.0

# All errors that the driver raises are retried here: a lost connection, BUSY, LOADING, READONLY during a failover, even
# OOM. The refusal by a script is never raised as an error of the driver. The one lasting error is that of a script that
# has failed, because a program other than skep has written to a session's keys: see `persist`.
RETRIABLE: Final = REDIS_ERRORS


def backoff_delays() -> Iterator[float]:
    """Yield seconds to wait: doubling from 20 ms to 1 s, each drawn from its upper half, so that workers spread out."""
    delay = FIRST_SECONDS
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreading, not secrecy
        delay = min(delay * 2, LONGEST_SECONDS)


async def persist(call: Callable[[], Awaitable[T]], what: str, **context: str) -> T:
    """Await `call()` until Redis answers, however long that takes; only for calls that may be repeated.

    The lease limits how long an outage may last: it ends the worker, and with it all tasks that wait here. Raises
    ProtocolError if a script has failed because of what a session's keys have: it would fail again.
    """
    delays = backoff_delays()
    while True:
        try:
            return await call()
        except RETRIABLE as exc:
            if is_script_failure(exc):
                text = "a key of the session in Redis has what no script of skep writes"
                raise ProtocolError(f"{what}: {text}: {reason_of(exc)}") from exc
            log.warning("redis.retry", what=what, error=describe_error(exc), **context)
            await asyncio.sleep(next(delays))


async def persist_unless_full(seconds: float, call: Callable[[], Awaitable[T]], what: str, **context: str) -> T:
    """Await `call()` until Redis answers, as `persist` does. Raises RedisFull if Redis is full for `seconds`.

    Tries less and less often: the command may be large, and is sent in full before it is refused.
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

    The lease does not depend on the store, so this wait has a limit of its own.
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
