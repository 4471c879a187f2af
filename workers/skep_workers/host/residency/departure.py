"""How a residency ends: the session is closed for good, or released to the owner that its next cell finds.

Its process leaves in order first, see session/leaving.py: what tasks and threads have done since the last cell is saved
as a checkpoint of its own, and exit handlers run.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from skep_shared import packed_events
from skep_shared.broker.script_replies import Claim
from skep_shared.packed_events import EndedWork
from skep_shared.protocol.frames import Shutdown
from skep_shared.states import CellStatus, ResidentStep
from skep_workers.host.broker.backoff import persist
from skep_workers.host.process.leave_requests import Patience
from skep_workers.host.residency.cells.endings import Refusal
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.parts import ResidencyParts

INTERRUPT_GRACE_SECONDS: Final = 2.0  # that a cell has to end by an interrupt, before its process is killed
SAVE_SECONDS: Final = 5.0
HURRIED_SECONDS: Final = 2.0  # that a process may take to leave when the time for it is over
_CLOSED: Final = Refusal(CellStatus.CANCELLED, "SessionClosed", "the session was closed before the cell started")


class Departure:
    """Ends one residency."""

    def __init__(self, host: Host, claim: Claim, parts: ResidencyParts) -> None:
        self._host = host
        self._claim = claim
        self._parts = parts
        self._lifecycle = parts.lifecycle

    async def close(self) -> None:
        """Cancel the cells that wait, interrupt the running one, and close the session. Raises Fenced, EventGap."""
        release, pending, ended = self._host.scripts.release, 1, EndedWork()
        parts = self._parts
        while pending:  # a cell that ended without its checkpoint may have returned to the queue meanwhile
            await self._persist(self._read_last_seq)
            await self._end_cells()
            if parts.processes.current is not None:
                ended = await self.end_process(is_over=True)
            await parts.journal.written()
            event = packed_events.session_closed(parts.reporter.session_head(), ended=ended)
            first = parts.journal.last_event + 1
            await parts.checkpoints.report_bytes()
            pending = await self._persist(
                lambda: release(self._claim, self._host.worker_id, closing_event=event, first_event=first)  # noqa: B023
            )

    async def _end_cells(self) -> None:
        parts, runs, intake = self._parts, self._parts.runs, self._parts.intake
        while True:
            self._lifecycle.forget_changes()
            while intake.waiting and runs.is_settled:
                runs.refuse_next(_CLOSED)
            if runs.is_settled and intake.is_complete:
                return
            for run in list(runs.window)[1:]:  # first: the running cell may end at once, and the next one start
                runs.interrupts.cancel(run.cell.seq)
            if runs.window.head is not None:
                runs.interrupts.interrupt(runs.window.head.cell.seq)
            if not await self._lifecycle.changes_within(INTERRUPT_GRACE_SECONDS):
                if runs.window:
                    await parts.processes.kill()
                else:
                    runs.unsaved.commit_without("the session was closed while the state was being saved")

    async def _read_last_seq(self) -> int:
        key = self._host.scripts.keys.session(self._claim.session_id)
        reply = await self._host.redis.execute_command("HGET", key, "seq")
        self._parts.intake.expect(int(reply or 0))
        return self._parts.intake.known

    async def release_when_quiet(self) -> int:
        """Wait for what runs, unless hurried, then release the session; return the number of cells still pending.

        What still runs then is not interrupted: user code could not distinguish that from an interrupt by its user, and
        would end as if it were one. Its process is killed, as if the worker had died. Raises Fenced, EventGap.
        """
        parts, runs, lifecycle = self._parts, self._parts.runs, self._lifecycle
        while not runs.is_settled:
            lifecycle.raise_if_lost()
            if lifecycle.is_hurried:
                break
            await lifecycle.next_change()
        head = runs.window.head
        if head is not None and (head.is_interrupted or head.killed_as is not None):  # its user wants it to end here
            await lifecycle.until(lambda: runs.window.head is not head, INTERRUPT_GRACE_SECONDS)
        # A cell that has ended must not be lost: without its checkpoint it would run again, elsewhere.
        await lifecycle.until(lambda: not runs.unsaved, SAVE_SECONDS)
        if not runs.is_settled:
            runs.prepare_handover()
            lifecycle.step(ResidentStep.HAND_OVER)
            await parts.processes.kill()
        ended = await self.end_process()
        if lifecycle.hibernation_reason or ended.nonempty():
            reason = lifecycle.hibernation_reason or "its worker stops"
            worker_id = self._host.worker_id
            parts.reporter.session_event(
                packed_events.session_hibernated, worker_id=worker_id, reason=reason, ended=ended
            )
        await parts.journal.written()
        await parts.checkpoints.report_bytes()
        return await self.release(shuts_down=lifecycle.is_handing_over)

    async def end_process(self, *, is_over: bool = False) -> EndedWork:
        """Ask the process, if there is one, to leave in order, and save its last state; return what ended with it.

        is_over: the session ends too. Raises Fenced, EventGap.
        """
        parts = self._parts
        if parts.processes.current is None:
            return EndedWork()
        await parts.journal.written()  # the cells that have ended have committed
        await parts.tenant_cpu.report()
        # A close does not try a second time to save what could not be saved.
        is_saving = parts.runs.unsaved.has_checkpoints and not (is_over and parts.journal.unsaved)
        seq = parts.journal.cursor if is_saving else 0
        parts.last_checkpoint.expect(seq)
        ended = await self._leave(Shutdown(seq, is_over))
        await parts.checkpoints.settled()
        parts.last_checkpoint.expect(0)
        parts.checkpoints.discard_unstored()  # a part of a snapshot that will not be completed
        return ended

    async def _leave(self, order: Shutdown) -> EndedWork:
        processes, lifecycle = self._parts.processes, self._lifecycle
        patience = Patience(save_seconds=self._host.settings.snapshot_seconds + SAVE_SECONDS)
        leaving = processes.start_task(processes.end(order, patience), "leaving process")
        leaving.add_done_callback(lambda _: lifecycle.notify())
        try:
            await lifecycle.until(lambda: leaving.done() or lifecycle.is_hurried, sum(patience))
            await lifecycle.until(leaving.done, HURRIED_SECONDS)
            if not leaving.done():
                await processes.kill()
            return await leaving
        finally:
            leaving.cancel()

    async def release(self, *, shuts_down: bool) -> int:
        """Release the session as it is; return the number of cells still pending. Raises Fenced, EventGap.

        shuts_down: its running cell was killed because the worker stops.
        """
        was_started = self._parts.runs.window.started_seq > self._parts.journal.cursor
        release = self._host.scripts.release
        return await self._persist(
            lambda: release(self._claim, self._host.worker_id, was_started=was_started, shuts_down=shuts_down)
        )

    async def _persist(self, call: Callable[[], Awaitable[int]]) -> int:
        return await persist(call, "residency", session_id=self._claim.session_id)
