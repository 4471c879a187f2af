"""A worker's lease: what it promises, and what it doesn't.

A worker beats every third of a lease; each beat makes its marker in Redis live one lease from then, by Redis' clock.
It beats earlier where another worker's lease ends, or a session has waited for too long: a takeover begins at once.
While the marker lives nobody else can claim its sessions. When it has expired anybody can, and every claim raises the
session's epoch, so whatever the old owner writes afterwards is refused (FENCED) and changes nothing.

The worker itself trusts a beat only for one lease from when it was *sent*, by its own monotonic clock, which is never
later than the marker's end. A lease that ran out is no harm by itself: if nobody claimed a session meanwhile, it is
still this worker's after the next beat. So after such a gap it asks, session by session, and ends the stay of those it
has lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from skep_shared.foreign_errors import describe_error
from skep_shared.models import WorkerFacts
from skep_shared.script_replies import Heartbeat
from skep_shared.settings import WorkerSettings
from skep_shared.worker_scripts import WorkerScripts
from skep_workers.host.backoff import RETRIABLE
from skep_workers.host.clock import RedisClock

log = structlog.get_logger()

PATIENCE_MS: Final = 500  # a submit enqueues its activation at once; only after this somebody else does it again
SOONEST_SECONDS: Final = 0.05  # between two beats
LONGEST_LOOK_SECONDS: Final = 10.0  # at a page of dead workers and waiting sessions


class RedisOutage(Exception):
    """Redis has been away for longer than `redis_outage_seconds`."""


class Lease:
    """Keeps this worker alive in Redis."""

    def __init__(
        self,
        worker_id: str,
        scripts: WorkerScripts,
        settings: WorkerSettings,
        clock: RedisClock,
        facts: Callable[[], WorkerFacts],
    ) -> None:
        self._worker_id = worker_id
        self._scripts = scripts
        self._settings = settings
        self._clock = clock
        self._facts = facts
        self._trusted_until = 0.0
        self._neglect = asyncio.Event()

    @property
    def is_trusted(self) -> bool:
        """Tell whether nobody else can have claimed this worker's sessions."""
        return time.monotonic() < self._trusted_until

    async def beat(self) -> Heartbeat:
        """Renew the lease. Raises what the driver raises."""
        asked_at = time.monotonic()
        lease = self._settings.lease_seconds
        beat = await self._scripts.heartbeat(
            self._worker_id, int(lease * 1000), self._facts().pack(), patience_ms=PATIENCE_MS
        )
        self._clock.set(beat.now_ms, asked_at=asked_at)
        self._trusted_until = asked_at + lease
        return beat

    async def look(self, on_neglect: Callable[[], Awaitable[None]]) -> None:
        """Await `on_neglect` when a beat has told that workers have fallen silent or sessions wait; until cancelled.

        Beside the beats, not between them: with many sessions to ask for it takes longer than a short lease.
        """
        while True:
            await self._neglect.wait()
            self._neglect.clear()
            try:
                async with asyncio.timeout(LONGEST_LOOK_SECONDS):
                    await on_neglect()
            except (*RETRIABLE, TimeoutError) as exc:
                log.warning("recovery.failed", error=describe_error(exc))

    async def run(self, on_lapse: Callable[[], Awaitable[None]]) -> None:
        """Beat until cancelled. Raises RedisOutage.

        `on_lapse` is awaited after a gap in this worker's lease; what the driver raises there counts as a failed beat.
        """
        interval = self._settings.lease_seconds / 3
        last_success = time.monotonic()
        while True:
            pause = interval
            started = time.monotonic()
            try:
                async with asyncio.timeout(max(interval, 1.0)):
                    beat = await self.beat()
                    if not beat.was_alive:
                        log.warning("lease.lapsed")
                        await on_lapse()
                    if beat.neglected:
                        self._neglect.set()
                        pause = min(pause, PATIENCE_MS / 1000)  # what was asked for may get lost
                    pause = min(pause, max(beat.next_ms / 1000, SOONEST_SECONDS))
            except (*RETRIABLE, TimeoutError) as exc:
                silence = time.monotonic() - last_success
                log.warning("lease.beat_failed", error=describe_error(exc), silence_seconds=round(silence, 1))
                if silence > self._settings.redis_outage_seconds:
                    raise RedisOutage(f"Redis has been away for {silence:.0f} s") from exc
            else:
                last_success = time.monotonic()
            await asyncio.sleep(max(0.0, started + pause - time.monotonic()))
