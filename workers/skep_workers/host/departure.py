"""How a stay ends: the session is closed for good, or released to the owner that its next cell finds.

Its process leaves in order first, see session/leaving.py: what tasks and threads have done since the last cell is saved
as a checkpoint of its own, and exit handlers run.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from skep_shared.checkpoint_ids import NO_CHECKPOINT
from skep_shared.frames import Shutdown
from skep_shared.script_replies import Claim
from skep_shared.states import CellStatus
from skep_workers.host.backoff import persist
from skep_workers.host.checkpoints import SavedState
from skep_workers.host.facilities import Host
from skep_workers.host.intake import CellIntake
from skep_workers.host.journal import Journal
from skep_workers.host.parting import Ended, Patience
from skep_workers.host.reporter import Reporter
from skep_workers.host.runs import CellRuns
from skep_workers.host.session_processes import SessionProcesses
from skep_workers.host.state_keeping import StateKeeping

INTERRUPT_GRACE_SECONDS: Final = 2.0  # that a cell has to end by an interrupt, before its process is killed
SAVE_SECONDS: Final = 5.0
HURRIED_SECONDS: Final = 2.0  # that a process may take to leave when the time for it is over


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
        self._leaving_seq = 0  # while the process leaves: the cell after which its state is saved
        self._newest = NO_CHECKPOINT
        self.hibernation = ""  # why the session is to hibernate, if it is
        self.is_hurried = False
        self.is_handing_over = False  # the process is killed because the worker shuts down, not for what it did

    def hurry(self) -> None:
        """Wait no longer for what runs: leave it to the next owner, as another attempt."""
        self.is_hurried = True
        self._changed.set()

    async def close(self) -> None:
        """Cancel what waits, interrupt what runs, and say that the session is over. Raises Fenced, EventGap."""
        release, pending, ended = self._host.scripts.release, 1, Ended()
        while pending:  # a cell that ended without its checkpoint may have come back meanwhile
            await self._persist(self._learn_last_seq)
            await self._end_cells()
            if self._processes.current is not None:
                ended = await self.end_process(is_over=True)
            await self._journal.written()
            event, first = self._reporter.pack("session.closed", **ended.fields), self._journal.last_event + 1
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
            if not await self._changes_within(INTERRUPT_GRACE_SECONDS):
                if self._runs:
                    await self._processes.kill()
                else:
                    self._runs.go_on_unsaved("the session was closed while the state was being saved")

    async def _learn_last_seq(self) -> int:
        key = self._host.scripts.keys.session(self._claim.session_id)
        reply = await self._host.redis.execute_command("HGET", key, "seq")
        self._intake.expect(int(reply or 0))
        return self._intake.known

    async def release_when_quiet(self) -> int:
        """Let what runs end, unless hurried, then give the session back; gives the number of cells still pending.

        What still runs then is not interrupted: user code could not tell that from its user's interrupt, and would end
        as if it were one. Its process is killed, as the worker's own death would do. Raises Fenced, EventGap.
        """
        while not self._runs.is_settled and not self.is_hurried:
            self._changed.clear()
            await self._changed.wait()
        head = self._runs.head
        if head is not None and (head.is_interrupted or head.killed_as is not None):  # its user wants it to end, here
            await self._until(lambda: self._runs.head is not head, INTERRUPT_GRACE_SECONDS)
        # What has ended must not be thrown away: without its checkpoint it would run again, elsewhere.
        await self._until(lambda: self._runs.is_saved, SAVE_SECONDS)
        if not self._runs.is_settled:
            self._runs.give_up()
            self.is_handing_over = True
            await self._processes.kill()
        ended = await self.end_process()
        if self.hibernation or ended.fields:
            reason = self.hibernation or "its worker stops"
            worker_id = self._host.worker_id
            self._reporter.session_event("session.hibernated", worker_id=worker_id, reason=reason, **ended.fields)
        await self._journal.written()
        return await self.release()

    async def end_process(self, *, is_over: bool = False) -> Ended:
        """Have the process, if there is one, leave in order, and save what it leaves; return what has ended with it.

        is_over: the session ends too. Raises Fenced, EventGap.
        """
        if self._processes.current is None:
            return Ended()
        await self._journal.written()  # the cells that have ended have committed
        is_saving = self._runs.is_kept and not (is_over and self._journal.unsaved)  # a close waits for no second try
        self._leaving_seq = self._journal.cursor if is_saving else 0
        patience = Patience(save_seconds=self._host.settings.snapshot_seconds + SAVE_SECONDS)
        order = Shutdown(self._leaving_seq, is_over)
        ending = asyncio.create_task(
            self._processes.end(order, patience), name=f"end of the process of {self._claim.session_id}"
        )
        ending.add_done_callback(lambda _: self._changed.set())
        try:
            await self._until(lambda: ending.done() or self.is_hurried, sum(patience))
            await self._until(ending.done, HURRIED_SECONDS)
            if not ending.done():
                await self._processes.kill()
            ended = await ending
        finally:
            ending.cancel()
        await self._keeping.settled()
        self._leaving_seq = 0
        self._keeping.drop()  # of a snapshot that was cut off
        return ended

    def numbered(self, state: SavedState) -> SavedState:
        """Return the state with the number of its checkpoint, which is another one where the process leaves it."""
        if not state.manifest or state.seq != self._leaving_seq:
            return state
        self._newest = max(self._newest, self._keeping.newest).after(state.seq)
        return replace(state, kind="last", part=self._newest.part)

    async def release(self) -> int:
        """Give the session back as it is; gives the number of cells still pending. Raises Fenced, EventGap."""
        was_started = self._runs.started_seq > self._journal.cursor
        release = self._host.scripts.release
        return await self._persist(
            lambda: release(self._claim, self._host.worker_id, was_started=was_started, shuts_down=self.is_handing_over)
        )

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
