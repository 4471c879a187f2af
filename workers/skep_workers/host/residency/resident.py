"""One session's residency on this worker, from claim to release.

It ends in one of four ways: the session is released (what is pending runs elsewhere), closed, or fenced (another worker
has the session: its process is killed at once, and nothing is written), or the worker itself ends. The end of a process
does not end the residency: the next cell starts another one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import structlog

from skep_shared import packed_events
from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.broker.script_replies import Claim, Mark
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap, Fenced, SignatureRefused, StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.signing import REFUSED_CATEGORY
from skep_shared.states import CellStatus, ResidentState, ResidentStep
from skep_workers.host.process.live_fork import NotLive
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.attempts import SHUT_DOWN
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.endings import Refusal
from skep_workers.host.residency.cells.intake import CellIntake
from skep_workers.host.residency.cells.reporter import time_of_event
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.departure import Departure
from skep_workers.host.residency.parts import ResidencyParts
from skep_workers.host.residency.residency_requests import KINDS, ResidencyRequests
from skep_workers.host.residency.stuck_tasks import all_awaited
from skep_workers.host.residency.uploads import KIND as UPLOAD_KIND

log = structlog.get_logger()

MAX_STARTS: Final = 3


class Resident:
    """A session that this worker owns."""

    def __init__(self, host: Host, claim: Claim, find: Callable[[str], "Resident | None"]) -> None:
        """`find` returns the session with this id if it is resident on this worker."""
        self._host = host
        self.claim: Final = claim
        self.session_id: Final = claim.session_id
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)
        self._parts = parts = ResidencyParts(host, claim, find)
        self._lifecycle = parts.lifecycle
        self._departure = Departure(host, claim, parts)
        self._requests = ResidencyRequests(claim, host.scripts, parts, self._departure)
        self._idle_since: float | None = None
        self.idle_seconds = parts.idle_seconds  # None: the worker's setting applies; `Session.update` may change it
        self._unresponsive: CellRun | None = None
        self._writers: list[asyncio.Task[None]] = []
        for seq, kind, _ in claim.requests:
            (self.interrupt if kind == "interrupt" else self.cancel)(seq)

    @property
    def intake(self) -> CellIntake:
        """The cells that wait to run."""
        return self._parts.intake

    @property
    def idle_since(self) -> float | None:
        """Since when (monotonic seconds) no cell runs, waits or is being committed; None while one does."""
        if not self.is_idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        return self._idle_since

    @property
    def is_leaving(self) -> bool:
        """Return whether the residency is ending or has ended."""
        return self._lifecycle.is_leaving

    @property
    def can_hibernate(self) -> bool:
        """Return whether the session loses nothing when its process ends."""
        parts = self._parts
        has_saved = parts.runs.unsaved.has_checkpoints and not parts.journal.unsaved
        return has_saved or parts.processes.current is None

    @property
    def is_idle(self) -> bool:
        """Return whether no cell runs, waits, is still to arrive, or is being saved and committed."""
        has_requests = bool(self._requests) or bool(self._parts.uploads)
        return not self._requests.has_cells and not has_requests and self._parts.journal.unwritten_bytes == 0

    async def works(self, patience_seconds: float) -> bool:
        """Return whether the process works while no cell runs; no answer in time counts as working."""
        process = self._parts.processes.current
        if process is None:
            return False
        work = await process.work(patience_seconds)
        return work is None or bool(work.tasks or work.threads or work.children)

    def waits_for(self) -> dict[str, str]:
        """Return what the unfinished tasks of this residency wait for, by task name."""
        return all_awaited(self._writers)

    async def run(self) -> int:
        """Serve the session until it is released, closed or fenced; return the number of cells left pending."""
        self._log.info("session.claimed", cursor=self.claim.cursor, pending=self.claim.seq - self.claim.cursor)
        async with self._parts.processes.owning_tasks():
            try:
                return await self._serve_until_over()
            finally:
                await self._end()
        raise AssertionError("the block above returns or raises")

    async def _serve_until_over(self) -> int:
        pending = 0
        try:
            async with asyncio.TaskGroup() as group:
                self._start_writers(group)
                await self._parts.checkpoints.load()
                await self._announce_move()
                self.intake.expect(self.claim.seq)
                pending = await self._serve()
                for writer in self._writers:
                    writer.cancel()
        except* Fenced as group_exc:
            self._lifecycle.step(ResidentStep.FENCE)
            self._log.warning("session.fenced", error=describe_error(group_exc.exceptions[0]))
        except* EventGap as group_exc:
            # The stream has fewer events than this owner has written: Redis has lost its latest writes. The next owner
            # starts from what Redis has.
            shuts_down = self._lifecycle.is_handing_over
            self._lifecycle.step(ResidentStep.FENCE)
            self._log.error("session.gap", error=describe_error(group_exc.exceptions[0]))
            with contextlib.suppress(Fenced):
                pending = self._released(await self._departure.release(shuts_down=shuts_down))
                if self._parts.journal.cursor == self.claim.cursor:
                    # Nothing has been committed here, so the next owner may run into the same gap at once. The search
                    # for waiting sessions finds it, at growing intervals.
                    pending = 0
        return pending

    def _start_writers(self, group: asyncio.TaskGroup) -> None:
        parts = self._parts
        self._writers = [
            group.create_task(parts.journal.run(), name=f"journal of {self.session_id}"),
            group.create_task(parts.intake.run(), name=f"intake of {self.session_id}"),
            group.create_task(parts.uploads.run(), name=f"uploads of {self.session_id}"),
            group.create_task(parts.checkpoints.store(), name=f"checkpoints of {self.session_id}"),
            group.create_task(parts.checkpoints.prune(), name=f"pruning of {self.session_id}"),
        ]
        if parts.tenant_cpu.has_tenant:
            self._writers.append(group.create_task(parts.tenant_cpu.run(), name=f"use of {self.session_id}"))
        if parts.watch is not None and parts.watch.measures:
            self._writers.append(group.create_task(parts.watch.run(), name=f"limits of {self.session_id}"))

    async def _end(self) -> None:
        """End the process, and answer every request that is left."""
        parts = self._parts
        try:
            parts.runs.detach()
            await parts.processes.leave(at_once=self._lifecycle.state is ResidentState.FENCED)
        finally:
            is_released = self._lifecycle.state is ResidentState.RELEASED
            self._lifecycle.step(ResidentStep.END)
            parts.operations.add_unhandled(parts.uploads.remove_all())
            self._requests.end(is_released=is_released)
            parts.operations.send_back()

    def interrupt(self, seq: int) -> None:
        """End one cell (0: the running one), now or when it starts; one that has ended is left alone."""
        self._parts.runs.interrupts.interrupt(seq)

    def cancel(self, seq: int) -> None:
        """Cancel a cell that has not started; one that has is left alone."""
        self._parts.runs.interrupts.cancel(seq)

    def is_cell(self, seq: int, cell_id: str) -> bool:
        """Return whether a request that names this cell is about the cell of `seq`; "" names none."""
        run = self._parts.runs.window.find(seq)
        cells = [cell for cell in self.intake.waiting if cell.seq == seq] if run is None else [run.cell]
        return not cell_id or all(cell.cell_id == cell_id for cell in cells)

    def report_refusal(self, what: str, reason: str) -> None:
        """Report a request to this session that was refused for its signature."""
        self._log.warning("signature.refused", what=what, reason=reason)
        message = f"{what} is refused: {reason}"
        self._parts.reporter.session_event(packed_events.warning, category=REFUSED_CATEGORY, message=message)

    async def refuse_close(self) -> None:
        """Make the session open again: its close is not signed by a key of this worker."""
        try:
            if await self._host.scripts.reopen(self.claim):
                self.report_refusal(f"close of session {self.session_id!r}", "it is not signed by a key of its worker")
        except Fenced:
            self._lifecycle.step(ResidentStep.LOSE)

    def answer(self, text: str | None) -> None:
        """Answer the question that the running cell has asked."""
        self._parts.runs.answer(text)

    def operate(self, request: OperationRequest) -> None:
        """Start an operation, and a process for it if there is none."""
        parts = self._parts
        if not parts.operations.is_new(request):
            return
        if self._lifecycle.state is ResidentState.OVER:
            parts.operations.add_unhandled([request])
            parts.operations.send_back()
        elif request.kind in KINDS:
            self._requests.add(request)
        elif request.kind == UPLOAD_KIND and not self.is_leaving:
            parts.uploads.add(request)
        else:
            parts.operations.add(request)
            parts.send_operations()

    def hibernate(self, reason: str) -> None:
        """Release the session while it is idle; its next cell activates it again."""
        self._lifecycle.hibernate(reason)

    def ping(self, now: float) -> None:
        """Send a ping to the process that runs a cell, and report one that has not answered for long."""
        head, process = self._parts.runs.window.head, self._parts.processes.current
        if head is None or process is None:
            return
        silence = process.ping(now)
        if silence >= self._host.settings.unresponsive_seconds and head is not self._unresponsive:
            self._unresponsive = head
            self._log.warning("session.unresponsive", seq=head.cell.seq, silence_seconds=round(silence, 1))
            message = f"the process has not answered for {silence:.0f} s: it is stuck in a call that holds the GIL"
            self._parts.reporter.session_event(packed_events.warning, category="session.unresponsive", message=message)

    def close(self) -> None:
        """End the session: interrupt the running cell, cancel those that wait."""
        self._lifecycle.step(ResidentStep.CLOSE)

    @property
    def mark(self) -> Mark:
        """How far the session is, as far as Redis has confirmed it to this owner."""
        journal = self._parts.journal
        return Mark(self.intake.known, journal.cursor, journal.last_written, self.claim.token)

    def check(self, stored: Mark, known: Mark, *, closing: bool) -> None:
        """Compare with the mark that Redis has stored; `known` is the mark from before Redis was asked.

        Cells that were not announced are read. The residency ends if another worker has the session, or if Redis has
        lost events.
        """
        if stored.token != self.claim.token:
            self._lifecycle.step(ResidentStep.LOSE)
        if closing:
            self._lifecycle.step(ResidentStep.CLOSE)
        if stored.is_behind(known):
            self._lifecycle.find_gap(EventGap(self.session_id, known.last + 1, stored.last))
        self.intake.expect(stored.seq)
        self._lifecycle.notify()

    async def confirm(self) -> None:
        """Confirm to Redis that the session has its owner, and find cells that were missed."""
        try:
            self.intake.expect(await self._host.scripts.confirm(self.claim))
        except Fenced:
            self._lifecycle.step(ResidentStep.LOSE)

    def drain(self) -> None:
        """Start no more cells; the residency ends when what runs has ended."""
        self._lifecycle.step(ResidentStep.DRAIN)

    def hurry(self) -> None:
        """End a drain: leave the running cell to the next owner, as another attempt."""
        self._lifecycle.step(ResidentStep.HURRY)

    async def _announce_move(self) -> None:
        reporter, claim = self._parts.reporter, self.claim
        if announced := [seq for seq, _ in claim.said]:
            events = self._host.scripts.keys.events(self.session_id)
            reporter.continue_after(announced, await time_of_event(self._host.reads, events, claim.last_event))
        previous = claim.previous_owner
        if previous and previous != self._host.worker_id:
            reason = "the worker that had it died" if claim.losses else "it was released there"
            if claim.handed_over:
                reason = f"it was released there: {SHUT_DOWN}"
            reporter.session_event(
                packed_events.session_moved,
                worker_id=self._host.worker_id,
                from_worker_id=previous,
                reason=reason,
            )

    async def _serve(self) -> int:
        """Start processes and answer requests until the residency is to end; return the number of pending cells."""
        lifecycle, failed_starts = self._lifecycle, 0
        while True:
            lifecycle.forget_changes()
            lifecycle.raise_if_lost()
            if lifecycle.is_closing:
                await self._departure.close()
                lifecycle.step(ResidentStep.RELEASE)
                self._log.info("session.closed")
                return 0
            if self._must_answer_request():
                await self._requests.answer_next()
                lifecycle.notify()
            elif lifecycle.is_draining:
                return self._released(await self._departure.release_when_quiet())
            elif self._parts.refused_options is not None and self._needs_process():
                self._refuse_for_options(self._parts.refused_options)
            elif self._parts.network.refusal and self._needs_process():
                self._refuse_for_network()
            elif lifecycle.may_start_process and self._needs_process():
                failed_starts = await self._try_to_start(failed_starts)
            else:
                await lifecycle.change()

    def _must_answer_request(self) -> bool:
        if not self._requests or self.is_leaving:
            return False
        # Operations that wait for a process were sent before a request that would end it.
        return not (self._lifecycle.may_start_process and self._parts.operations.has_waiting)

    def _needs_process(self) -> bool:
        parts = self._parts
        return bool(parts.intake.waiting or parts.operations.has_waiting or parts.uploads)

    async def _try_to_start(self, failed_starts: int) -> int:
        """Start a process; return how many starts in a row have failed."""
        try:
            await self._start_process()
        except StartError as exc:
            failed_starts += 1
            self._log.warning("session.start_failed", error=describe_error(exc), starts=failed_starts)
            if failed_starts < MAX_STARTS:
                return failed_starts
            self._refuse_waiting(Refusal(CellStatus.CRASHED, "StartError", str(exc)))
        return 0

    async def _start_process(self) -> None:
        parts, lifecycle = self._parts, self._lifecycle
        lifecycle.step(ResidentStep.START)
        try:
            is_lagging = parts.runs.unsaved.commits_before_checkpoint
            process = await parts.processes.start(parts.runs.configuration(), is_lagging=is_lagging)
            await parts.runs.record_first()
            if parts.processes.current is not process:
                raise StartError("session process", "it ended before its first cell")
        except StartError:
            if lifecycle.has_process_starting:  # otherwise its end has been reported already
                lifecycle.step(ResidentStep.EXIT)
            raise
        # If the residency ends, no cell is sent: it might be killed soon. It has not begun, and runs elsewhere.
        lifecycle.step(ResidentStep.HELLO)
        parts.attach(process)

    def _refuse_for_options(self, refused: SignatureRefused) -> None:
        """End what needs a process: it would begin with variables that no holder of the key has signed."""
        self._log.warning("signature.refused", what=refused.what, reason=refused.reason)
        self._refuse_waiting(Refusal(CellStatus.FAILED, SignatureRefused.__name__, str(refused)))

    def _refuse_for_network(self) -> None:
        """End what needs a process: the session asks for a network that it can't have here, nor on another worker."""
        network = self._parts.network
        self._log.warning("network.unavailable", network=str(network.network), possible=network.possible)
        self._refuse_waiting(Refusal(CellStatus.FAILED, "NetworkUnavailable", network.refusal))

    def _refuse_waiting(self, refusal: Refusal) -> None:
        reason = refusal.evalue
        if self.intake.waiting:
            self._parts.runs.refuse_next(refusal)
        self._parts.operations.refuse_waiting(reason)
        self._parts.uploads.fail(reason)

    def live_process(self, checkpoint: CheckpointId) -> SessionProcess:
        """Return the process for another session to be forked from, if it is at this checkpoint. Raises NotLive."""
        process = self._parts.processes.current
        if process is None or not self._lifecycle.is_ready:
            raise NotLive("its origin has no process now")
        if not self.is_idle:
            raise NotLive("cells run or wait in its origin")
        if self._parts.journal.head != checkpoint:
            raise NotLive("its origin has continued after that checkpoint")
        if not process.can_have_twin:
            raise NotLive("the zygote of its origin's process has ended")
        return process

    def _released(self, pending: int) -> int:
        if self._lifecycle.state is not ResidentState.FENCED:
            self._lifecycle.step(ResidentStep.RELEASE)
        self._log.info("session.released", pending=pending)
        return pending
