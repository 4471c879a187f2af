"""Which idle sessions may lose their process: after a while, or to make room for another session.

A session in which no cell runs may still work: a task waits for a download, a thread trains, a child process serves.
Only its process knows, and that may change at any time, so the process is asked when the decision is made. A session
that works keeps its process until it has had no cell for `busy_idle_seconds`. One that does not answer counts as
working: it holds the interpreter's lock, or waits for a disk that hangs. A session may have an idle time of its own
(`SessionOptions.idle_seconds`); room is made by the worker's times.

When room is needed, the session is evicted that has been idle for longest among those that do not work; one that works
is evicted only after `busy_idle_seconds`. An answer is valid for a few seconds, so a full worker whose sessions all
work does not ask them again for each session that it is offered.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from skep_shared.full_ids import tenant_of
from skep_shared.settings import WorkerSettings
from skep_workers.host.residency.resident import Resident

ANSWER_SECONDS: Final = 3.0
HOLDS_SECONDS: Final = 5.0
BATCH: Final = 32  # sessions that are asked at a time
ROOM_NEEDED: Final = "room was needed for another session"


class Idleness:
    """Decides which residents of one worker hibernate."""

    def __init__(
        self, settings: WorkerSettings, residents: Callable[[], Iterable[Resident]], group: asyncio.TaskGroup
    ) -> None:
        self._idle_seconds = settings.idle_seconds
        self._busy_seconds = max(settings.busy_idle_seconds, settings.idle_seconds)
        self._residents = residents
        self._group = group
        self._hibernating: asyncio.Task[None] | None = None
        self._busy: WeakKeyDictionary[Resident, tuple[float, float]] = WeakKeyDictionary()  # idle since, asked at

    @property
    def shortest_seconds(self) -> float:
        """The shortest idle time after which a session here hibernates."""
        return min(map(self._seconds_of, self._residents()), default=self._idle_seconds)

    def _seconds_of(self, resident: Resident) -> float:
        return self._idle_seconds if resident.idle_seconds is None else resident.idle_seconds

    @property
    def can_make_room(self) -> bool:
        """Return whether an idle session is not known to work."""
        now = time.monotonic()
        return any(self._may_hibernate(resident, since, now) for resident, since in self._idle())

    async def make_room(self, tenant: str = "") -> bool:
        """Evict the session that has been idle for longest; return False if all of them work.

        tenant: evict one of this tenant's.
        """
        asked: set[Resident] = set()
        while batch := [
            (resident, since)
            for resident, since in self._idle(tenant)
            if resident not in asked and self._may_hibernate(resident, since, time.monotonic())
        ][:BATCH]:
            asked.update(resident for resident, _ in batch)
            for resident, since in await self._without_work(batch):
                if self._hibernate(resident, since, ROOM_NEEDED):
                    return True
        now = time.monotonic()
        return any(
            self._hibernate(resident, since, f"{ROOM_NEEDED}, though it worked")
            for resident, since in self._idle(tenant)
            if now - since > self._busy_seconds
        )

    def hibernate_idle(self) -> None:
        """Begin to hibernate the sessions that have been idle for too long."""
        if self._hibernating is None or self._hibernating.done():
            self._hibernating = self._group.create_task(self._hibernate_idle(), name="idle sessions")

    async def _hibernate_idle(self) -> None:
        now = time.monotonic()
        due = [(resident, since) for resident, since in self._idle() if now - since > self._seconds_of(resident)]
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            free = await self._without_work([pair for pair in batch if self._may_hibernate(*pair, now)])
            for resident, since in batch:
                seconds = self._seconds_of(resident)
                busy_seconds = max(self._busy_seconds, seconds)
                if (resident, since) in free:
                    self._hibernate(resident, since, f"it was idle for {seconds:g} s")
                elif now - since > busy_seconds:
                    self._hibernate(resident, since, f"it had no cell for {busy_seconds:g} s, though it worked")

    def _idle(self, tenant: str = "") -> list[tuple[Resident, float]]:
        """Return the sessions that could hibernate, with the time since which they are idle, the longest first.

        tenant: only those of this tenant.
        """
        found = [
            (resident, since)
            for resident in self._residents()
            if (not tenant or tenant_of(resident.session_id) == tenant)
            and resident.can_hibernate
            and not resident.is_leaving
            and (since := resident.idle_since) is not None
        ]
        return sorted(found, key=lambda pair: pair[1])

    def _may_hibernate(self, resident: Resident, since: float, now: float) -> bool:
        if now - since > self._busy_seconds:
            return True
        idle_since, asked_at = self._busy.get(resident, (0.0, 0.0))
        return idle_since != since or now - asked_at > HOLDS_SECONDS

    async def _without_work(self, sessions: list[tuple[Resident, float]]) -> list[tuple[Resident, float]]:
        """Ask these sessions, and return those that do not work."""
        answers = await asyncio.gather(*(resident.works(ANSWER_SECONDS) for resident, _ in sessions))
        free = []
        for (resident, since), works in zip(sessions, answers, strict=True):
            if works:
                self._busy[resident] = since, time.monotonic()
            else:
                free.append((resident, since))
        return free

    def _hibernate(self, resident: Resident, since: float, reason: str) -> bool:
        """Hibernate a session, unless a cell has arrived meanwhile."""
        is_idle = not resident.is_leaving and resident.idle_since == since
        if is_idle:
            resident.hibernate(reason)
        return is_idle
