"""How a stay ends: the session is closed for good, or released to whoever has its next cell."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from skep_shared.script_replies import Claim
from skep_shared.states import CellStatus
from skep_workers.host.backoff import persist
from skep_workers.host.facilities import Host
from skep_workers.host.intake import CellIntake
from skep_workers.host.journal import Journal
from skep_workers.host.reporter import Reporter
from skep_workers.host.runs import CellRuns
from skep_workers.host.session_processes import SessionProcesses
from skep_workers.host.state_keeping import StateKeeping

INTERRUPT_GRACE_SECONDS: Final = 2.0
SAVE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class StayParts:
    """What a stay consists of. changed: set when something in it has."""

    intake: CellIntake
    runs: CellRuns
    journal: Journal
    reporter: Reporter
    keeping: StateKeeping
    processes: SessionProcesses
    changed: asyncio.Event


class Departure:
    """Ends one stay; the state that it is in is the resident's business."""

    def __init__(self, host: Host, claim: Claim, parts: StayParts) -> None:
        self._host = host
        self._claim = claim
        self._intake, self._runs, self._processes = parts.intake, parts.runs, parts.processes
        self._journal, self._reporter, self._keeping = parts.journal, parts.reporter, parts.keeping
        self._changed = parts.changed
        self.hibernation = ""  # why the session is to hibernate, if it is
        self.is_hurried = False

    def hurry(self) -> None:
        """Wait no longer for what runs: interrupt it, and leave to the next owner what doesn't end by that."""
        self.is_hurried = True
        self._changed.set()

    async def close(self) -> None:
        """Cancel what waits, interrupt what runs, and say that the session is over. Raises Fenced, EventGap."""
        release, pending = self._host.scripts.release, 1
        while pending:  # a cell that ended without its checkpoint may have come back meanwhile
            await self._persist(self._learn_last_seq)
            await self._end_cells()
            await self._journal.written()
            event, first = self._reporter.pack("session.closed"), self._journal.last_event + 1
            pending = await self._persist(
                lambda: release(self._claim, self._host.worker_id, closing_event=event, first_event=first)  # noqa: B023
            )

    async def _end_cells(self) -> None:
        while True:
            self._changed.clear()
            while self._intake.waiting and self._runs.is_settled:
                reason = "the session was closed before the cell started"
                self._runs.refuse_next(CellStatus.CANCELLED, "SessionClosed", reason)
            if self._runs.is_settled and self._intake.is_complete:
                return
            for run in list(self._runs)[1:]:  # first: the one that runs may end at once, and the next one start
                self._runs.cancel(run.cell.seq)
            if self._runs.head is not None:
                self._runs.interrupt(self._runs.head.cell.seq)
            if not await self._changes_within(INTERRUPT_GRACE_SECONDS) and self._runs:
                await self._processes.kill()

    async def _learn_last_seq(self) -> int:
        key = self._host.scripts.keys.session(self._claim.session_id)
        reply = await self._host.redis.execute_command("HGET", key, "seq")
        self._intake.expect(int(reply or 0))
        return self._intake.known

    async def release_when_quiet(self) -> int:
        """Let what runs end, unless hurried, then give the session back; gives the number of cells still pending.

        Raises Fenced, EventGap.
        """
        while self._runs and not self.is_hurried:
            self._changed.clear()
            await self._changed.wait()
        head = self._runs.head
        if head is not None:
            self._runs.interrupt(head.cell.seq)
            await self._until(lambda: self._runs.head is not head, INTERRUPT_GRACE_SECONDS)
            # What has ended must not be thrown away: without its checkpoint it would run again, elsewhere.
            await self._until(lambda: self._runs.is_saved, SAVE_SECONDS)
        if self._runs:
            await self._processes.kill()
        if self._processes.current is not None and self._runs.is_lagging:
            await self._processes.stop(self._host.settings.snapshot_seconds)  # it leaves with a last snapshot
            await self._keeping.settled()
        if self.hibernation:
            self._reporter.session_event("session.hibernated", worker_id=self._host.worker_id, reason=self.hibernation)
        await self._journal.written()
        return await self.release()

    async def release(self) -> int:
        """Give the session back as it is; gives the number of cells still pending. Raises Fenced, EventGap."""
        was_started = self._runs.started_seq > self._journal.cursor
        release = self._host.scripts.release
        return await self._persist(lambda: release(self._claim, self._host.worker_id, was_started=was_started))

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until it holds, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()

    async def _changes_within(self, seconds: float) -> bool:
        """Wait for the next change, at most so long; False if none came."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _persist(self, call: Callable[[], Awaitable[int]]) -> int:
        return await persist(call, "residency", session_id=self._claim.session_id)
