"""A worker's lease: what it guarantees, and what it doesn't.

A worker sends a heartbeat every third of a lease. Each heartbeat makes the worker's marker in Redis live one lease from
then, by Redis's clock. The worker sends one earlier when another worker's lease ends or a session has waited for too
long, so that a takeover begins at once.

While the marker lives, no other worker can claim the sessions of this one. When it has expired, any worker can. Every
claim raises the session's epoch, so all later writes of the old owner are refused (FENCED) and change nothing.

A lease that ran out does no harm by itself: a session that no worker has claimed meanwhile still belongs to this worker
after the next heartbeat. So after such a gap the worker checks each session, and ends the residency of those that
it has lost.

Heartbeats have a connection of their own. On a shared one they would wait for all commands before them, and with those
for `command_timeout_seconds` if the connection was dropped silently. A heartbeat without an answer closes its
connection, so the next one, still within the lease, opens another.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from skep_shared.broker.script_replies import Heartbeat
from skep_shared.broker.worker_scripts import WorkerScripts
from skep_shared.foreign_errors import describe_error
from skep_shared.models import WorkerFacts
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.backoff import RETRIABLE
from skep_workers.host.broker.redis_clock import RedisClock

log = structlog.get_logger()

PATIENCE_MS: Final = 500  # a submit enqueues its activation at once; after this long a worker enqueues it again
SOONEST_SECONDS: Final = 0.05  # between two heartbeats
LONGEST_LOOK_SECONDS: Final = 10.0  # for recovering a page of dead workers and waiting sessions


class RedisOutage(Exception):
    """Redis has been unreachable for longer than `redis_outage_seconds`."""


class Lease:
    """Renews this worker's lease in Redis."""

    def __init__(
        self,
        worker_id: str,
        scripts: WorkerScripts,
        settings: WorkerSettings,
        clock: RedisClock,
        facts: Callable[[], WorkerFacts],
        give_up_connection: Callable[[], object],
    ) -> None:
        """give_up_connection: makes `scripts` use another connection for the next heartbeat."""
        self._worker_id = worker_id
        self._scripts = scripts
        self._settings = settings
        self._clock = clock
        self._facts = facts
        self._give_up_connection = give_up_connection
        self._neglect = asyncio.Event()

    async def beat(self) -> Heartbeat:
        """Renew the lease. Raises what the driver raises."""
        asked_at = time.monotonic()
        lease_ms = int(self._settings.lease_seconds * 1000)
        beat = await self._scripts.heartbeat(self._worker_id, lease_ms, self._facts().pack(), patience_ms=PATIENCE_MS)
        self._clock.set(beat.now_ms, asked_at=asked_at)
        return beat

    async def watch_neglect(self, on_neglect: Callable[[], Awaitable[None]]) -> None:
        """Await `on_neglect` whenever a heartbeat has reported silent workers or waiting sessions, until cancelled.

        Runs alongside the heartbeats, not between them: with many sessions to recover, it takes longer than a short
        lease.
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
        """Send heartbeats until cancelled. Raises RedisOutage.

        `on_lapse` is awaited after a gap in this worker's lease, and again after the next heartbeat if it fails because
        of Redis, or takes too long.
        """
        interval = self._settings.lease_seconds / 3
        last_success = time.monotonic()
        has_lapsed = False
        while True:
            pause = interval
            started = time.monotonic()
            try:
                async with asyncio.timeout(max(interval, 1.0)):
                    beat = await self.beat()
                    last_success = time.monotonic()
                    if not beat.was_alive:
                        log.warning("lease.lapsed")
                        has_lapsed = True
                    if has_lapsed:
                        await on_lapse()
                        has_lapsed = False
                    if beat.neglected:
                        self._neglect.set()
                        pause = min(pause, PATIENCE_MS / 1000)  # the requested activations may get lost
                    pause = min(pause, max(beat.next_ms / 1000, SOONEST_SECONDS))
            except (*RETRIABLE, TimeoutError) as exc:
                if isinstance(exc, TimeoutError):  # after any other error the connection is in order, or gone
                    self._give_up_connection()
                silence = time.monotonic() - last_success
                log.warning("lease.beat_failed", error=describe_error(exc), silence_seconds=round(silence, 1))
                if silence > self._settings.redis_outage_seconds:
                    raise RedisOutage(f"Redis has been unreachable for {silence:.0f} s") from exc
            await asyncio.sleep(max(0.0, started + pause - time.monotonic()))
