"""Which sessions may lose their process because they are idle: after a while, or for the sake of another session.

A session in which no cell runs may still work: a task waits for a download, a thread trains, a child process serves.
Only its process knows, and it may change its mind at any time, so it is asked at the moment of the decision. One that
works keeps its process until it has been without a cell for `busy_idle_seconds`, and one that does not answer counts as
working: it holds the interpreter's lock, or waits for a stopped disk.

When room is needed, the session goes that has been idle for longest among those that do nothing; one that works goes
only after `busy_idle_seconds`. What a process has said holds for a few seconds, so that a full worker whose sessions
all work does not ask them again for each session that it is offered.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from skep_shared.settings import WorkerSettings
from skep_workers.host.resident import Resident

ANSWER_SECONDS: Final = 3.0
HOLDS_SECONDS: Final = 5.0
BATCH: Final = 32  # sessions that are asked at a time
ROOM_NEEDED: Final = "room was needed for another session"


class Idleness:
    """Decides about the residents of one worker."""

    def __init__(
        self, settings: WorkerSettings, residents: Callable[[], Iterable[Resident]], group: asyncio.TaskGroup
    ) -> None:
        self._idle_seconds = settings.idle_seconds
        self._busy_seconds = max(settings.busy_idle_seconds, settings.idle_seconds)
        self._residents = residents
        self._group = group
        self._looking: asyncio.Task[None] | None = None
        self._busy: WeakKeyDictionary[Resident, tuple[float, float]] = WeakKeyDictionary()  # idle since, asked at

    @property
    def can_make_room(self) -> bool:
        """Return whether a session is idle that is not known to work."""
        now = time.monotonic()
        return any(self._may_go(resident, since, now) for resident, since in self._idle())

    async def make_room(self) -> bool:
        """Send the session away that has been idle for longest; return False if all of them work."""
        asked: set[Resident] = set()
        while batch := [
            (resident, since)
            for resident, since in self._idle()
            if resident not in asked and self._may_go(resident, since, time.monotonic())
        ][:BATCH]:
            asked.update(resident for resident, _ in batch)
            for resident, since in await self._without_work(batch):
                if self._hibernate(resident, since, ROOM_NEEDED):
                    return True
        now = time.monotonic()
        return any(
            self._hibernate(resident, since, f"{ROOM_NEEDED}, though it worked")
            for resident, since in self._idle()
            if now - since > self._busy_seconds
        )

    def hibernate_idle(self) -> None:
        """Begin to hibernate the sessions that have been idle for too long."""
        if self._looking is None or self._looking.done():
            self._looking = self._group.create_task(self._hibernate_idle(), name="idle sessions")

    async def _hibernate_idle(self) -> None:
        now = time.monotonic()
        due = [(resident, since) for resident, since in self._idle() if now - since > self._idle_seconds]
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            free = await self._without_work([pair for pair in batch if self._may_go(*pair, now)])
            for resident, since in batch:
                if (resident, since) in free:
                    self._hibernate(resident, since, f"it was idle for {self._idle_seconds:g} s")
                elif now - since > self._busy_seconds:
                    self._hibernate(resident, since, f"it had no cell for {self._busy_seconds:g} s, though it worked")

    def _idle(self) -> list[tuple[Resident, float]]:
        """Return the sessions that could go, with the time since which no cell has run, the longest first."""
        found = [
            (resident, since)
            for resident in self._residents()
            if resident.can_hibernate and not resident.is_leaving and (since := resident.idle_since) is not None
        ]
        return sorted(found, key=lambda pair: pair[1])

    def _may_go(self, resident: Resident, since: float, now: float) -> bool:
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
        """Let a session go, unless a cell has come meanwhile."""
        is_idle = not resident.is_leaving and resident.idle_since == since
        if is_idle:
            resident.hibernate(reason)
        return is_idle
