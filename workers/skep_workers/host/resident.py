"""One session's stay on this worker, from claim to release.

The stay ends in one of four ways: released (drained; what is pending goes elsewhere), closed, fenced (another worker
has the session: the process is killed at once, nothing is written), or with the worker itself. A process that ends
does not end the stay: the next cell starts another one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import structlog

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap, Fenced, StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.frames import Blob, Done, Frame, Reply, Restored, Saved
from skep_shared.script_replies import Claim, Mark
from skep_shared.states import CellStatus, ResidentState, ResidentStep, next_resident
from skep_workers.host.awaited import all_awaited
from skep_workers.host.checkpoints import SavedState
from skep_workers.host.departure import Departure, StayParts
from skep_workers.host.facilities import Host
from skep_workers.host.intake import CellIntake, QueuedCell
from skep_workers.host.journal import Journal
from skep_workers.host.live_fork import NotLive
from skep_workers.host.operations import HostOperations, OperationRequest
from skep_workers.host.process import SessionProcess
from skep_workers.host.reporter import CellRun, Reporter
from skep_workers.host.runs import CellRuns
from skep_workers.host.session_processes import SessionProcesses
from skep_workers.host.state_keeping import StateKeeping
from skep_workers.host.stay_requests import KINDS, StayRequests

log = structlog.get_logger()

MAX_STARTS: Final = 3


class Resident:
    """A session that this worker owns."""

    def __init__(self, host: Host, claim: Claim, find: Callable[[str], "Resident | None"]) -> None:
        """`find` gives the session of an id that is resident on this worker."""
        self._host = host
        self.claim: Final = claim
        self.session_id: Final = claim.session_id
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)
        self._state = ResidentState.CLAIMED
        self._changed = asyncio.Event()
        self._is_closing = claim.closing
        self._is_lost = False
        self._gap: EventGap | None = None
        self._idle_since: float | None = None
        self._writers: list[asyncio.Task[None]] = []
        self._journal = Journal(host.scripts, claim, host.settings, self._on_written, self._on_checkpoint)
        self._reporter = Reporter(self._journal, host.clock, claim.epoch)
        self.intake: Final = CellIntake(
            host.reads, host.scripts.keys, claim.session_id, after=claim.cursor, on_cells=self._on_cells
        )
        self._operations = HostOperations(host.redis, host.scripts.keys, host.settings.reply_ttl_seconds)
        self._unresponsive: CellRun | None = None
        self._runs = CellRuns(
            claim,
            host.settings,
            host.clock,
            self.intake,
            (self._journal, self._reporter),
            self._changed.set,
            self._on_done,
        )
        self._keeping = StateKeeping(host, claim, self._journal, self._reporter, self._on_saved)
        self._processes = SessionProcesses(
            host, claim, self._journal, self._keeping, find, self._on_frame, self._on_exit
        )
        parts = StayParts(
            self.intake, self._runs, self._journal, self._reporter, self._keeping, self._processes, self._changed
        )
        self._departure = Departure(host, claim, parts)
        self._requests = StayRequests(claim, host.scripts, parts, self._operations, self._departure, self.hibernate)
        for seq, kind in claim.requests:
            (self.interrupt if kind == "interrupt" else self.cancel)(seq)

    @property
    def idle_since(self) -> float | None:
        """Since when (monotonic seconds) nothing runs, waits, or is being committed; None while something does."""
        if not self.is_idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        return self._idle_since

    @property
    def is_leaving(self) -> bool:
        """Tell whether the stay is ending."""
        return self._is_closing or self._state not in {
            ResidentState.CLAIMED, ResidentState.STARTING, ResidentState.READY,
        }  # fmt: skip

    @property
    def can_hibernate(self) -> bool:
        """Tell whether the session loses nothing when its process goes."""
        return (self._runs.is_kept and not self._journal.unsaved) or self._processes.current is None

    @property
    def is_idle(self) -> bool:
        """Tell whether no cell runs, waits, is still to come in, or is being saved and committed."""
        return not self._requests.has_cells and not self._requests and self._journal.unwritten_bytes == 0

    async def works(self, patience_seconds: float) -> bool:
        """Return whether the process works while no cell runs; one that does not answer in time counts as working."""
        process = self._processes.current
        if process is None:
            return False
        work = await process.work(patience_seconds)
        return work is None or bool(work.tasks or work.threads or work.children)

    def waits_for(self) -> dict[str, str]:
        """Give what the tasks of this stay wait for that have not ended, by their names."""
        return all_awaited(self._writers)

    async def run(self) -> int:
        """Stay until released, closed or fenced; gives the number of cells left pending for another owner."""
        self._log.info("session.claimed", cursor=self.claim.cursor, pending=self.claim.seq - self.claim.cursor)
        pending = 0
        try:
            async with asyncio.TaskGroup() as group:
                self._writers = [
                    group.create_task(self._journal.run(), name=f"journal of {self.session_id}"),
                    group.create_task(self.intake.run(), name=f"intake of {self.session_id}"),
                    group.create_task(self._operations.run(), name=f"operations of {self.session_id}"),
                    group.create_task(self._keeping.store(), name=f"checkpoints of {self.session_id}"),
                    group.create_task(self._keeping.prune(), name=f"shelf of {self.session_id}"),
                ]
                await self._keeping.load()
                self._introduce()
                self.intake.expect(self.claim.seq)
                pending = await self._stay()
                self._operations.waiting += self._requests.take_all()
                self._operations.send_back()
                await self._operations.sent()
                for writer in self._writers:
                    writer.cancel()
        except* Fenced as group_exc:
            self._step(ResidentStep.FENCE)
            self._log.warning("session.fenced", error=describe_error(group_exc.exceptions[0]))
        except* EventGap as group_exc:
            # The stream is not where this owner left it: Redis has gone back. Whoever claims next reads the truth.
            self._step(ResidentStep.FENCE)
            self._log.error("session.gap", error=describe_error(group_exc.exceptions[0]))
            with contextlib.suppress(Fenced):
                pending = self._released(await self._departure.release())
        finally:
            await self._leave()
        return pending

    def interrupt(self, seq: int) -> None:
        """End one cell (0: the running one), now or when it starts; one that has ended is left alone."""
        self._runs.interrupt(seq)

    def cancel(self, seq: int) -> None:
        """Take a cell out that has not started; one that has is left alone."""
        self._runs.cancel(seq)

    def answer(self, text: str | None) -> None:
        """Answer the question that the running cell has put."""
        self._runs.answer(text)

    def operate(self, request: OperationRequest) -> None:
        """Start an operation, and a process for it if there is none."""
        if request.kind in KINDS:
            self._requests.add(request, is_leaving=self.is_leaving)
        elif self.is_leaving:
            self._operations.waiting.append(request)
        elif self._processes.current is not None and not self._processes.current.is_ending:
            self._processes.current.control(self._operations.begin(request))
        else:
            self._operations.waiting.append(request)
            self._changed.set()

    def hibernate(self, reason: str) -> None:
        """Let the session go while it is idle; its next cell brings it back."""
        self._departure.hibernation = reason
        self.drain()

    def ping(self, now: float) -> None:
        """Ask a process that has been busy for long for a sign of life."""
        head, process = self._runs.head, self._processes.current
        if head is None or process is None:
            return
        silence = process.ping(now)
        if silence >= self._host.settings.unresponsive_seconds and head is not self._unresponsive:
            self._unresponsive = head
            self._log.warning("session.unresponsive", seq=head.cell.seq, silence_seconds=round(silence, 1))
            message = f"the process has not answered for {silence:.0f} s: it is stuck in a call that holds the GIL"
            self._reporter.session_event("warning", category="session.unresponsive", message=message)

    def close(self) -> None:
        """End the session: interrupt what runs, cancel what waits."""
        self._is_closing = True
        self._changed.set()

    @property
    def mark(self) -> Mark:
        """How far the session is, of what Redis has said to this owner."""
        return Mark(self.intake.known, self._journal.cursor, self._journal.last_written, self.claim.token)

    def check(self, there: Mark, known: Mark, *, closing: bool) -> None:
        """Compare with what Redis says, `known` being the mark from before it was asked.

        Cells that were not announced come in. A lost session's stay ends, and that of one whose log went back.
        """
        self._is_lost = self._is_lost or there.token != self.claim.token
        self._is_closing = self._is_closing or closing
        if there.is_behind(known):
            self._gap = EventGap(self.session_id, known.last + 1, there.last)
        self.intake.expect(there.seq)
        self._changed.set()

    async def confirm(self) -> None:
        """Say that the session has its owner, and find cells that were missed."""
        try:
            self.intake.expect(await self._host.scripts.confirm(self.claim))
        except Fenced:
            self._is_lost = True
            self._changed.set()

    def drain(self) -> None:
        """Take no more cells; the stay ends when what runs has ended."""
        if self._state not in {ResidentState.RELEASED, ResidentState.FENCED}:
            self._step(ResidentStep.DRAIN)
            self._changed.set()

    def hurry(self) -> None:
        """End a drain: interrupt what runs, and leave to the next owner what doesn't end by that."""
        self._departure.hurry()

    def _introduce(self) -> None:
        previous = self.claim.previous_owner
        if previous and previous != self._host.worker_id:
            reason = "the worker that had it died" if self.claim.losses else "it was released there"
            self._reporter.session_event(
                "session.moved", worker_id=self._host.worker_id, from_worker_id=previous, reason=reason
            )

    async def _stay(self) -> int:
        failed_starts = 0
        while True:
            self._changed.clear()
            if self._is_lost:
                raise Fenced(self.session_id, self.claim.epoch + 1)
            if self._gap is not None:
                raise self._gap
            if self._is_closing:
                await self._departure.close()
                self._state = ResidentState.RELEASED
                self._log.info("session.closed")
                return 0
            if self._requests and self._state is not ResidentState.DRAINING:
                await self._requests.answer_next()
                self._changed.set()
                continue
            if self._state is ResidentState.DRAINING:
                return self._released(await self._departure.release_when_quiet())
            if self._state is ResidentState.CLAIMED and (self.intake.waiting or self._operations.waiting):
                try:
                    await self._start_process()
                    failed_starts = 0
                except StartError as exc:
                    failed_starts += 1
                    self._log.warning("session.start_failed", error=describe_error(exc), starts=failed_starts)
                    if failed_starts >= MAX_STARTS:
                        failed_starts = 0
                        self._give_up_starting(str(exc))
                continue
            await self._changed.wait()

    async def _start_process(self) -> None:
        self._step(ResidentStep.START)
        try:
            process = await self._processes.start(self._runs.configuration(), is_lagging=self._runs.is_lagging)
        except StartError:
            if self._state is ResidentState.STARTING:  # else its end has been told already
                self._step(ResidentStep.EXIT)
            raise
        self._step(ResidentStep.HELLO)
        self._runs.attach(process)
        waiting, self._operations.waiting = self._operations.waiting, []
        for request in waiting:
            self.operate(request)
        self._on_cells()

    def live_process(self, checkpoint: CheckpointId) -> SessionProcess:
        """Give the process for another session to be a fork of, if it is at this checkpoint. Raises NotLive."""
        process = self._processes.current
        if process is None or self._state is not ResidentState.READY or self._is_closing:
            raise NotLive("its origin has no process now")
        if not self.is_idle:
            raise NotLive("cells run or wait in its origin")
        if self._journal.head != checkpoint:
            raise NotLive("its origin has gone on from there")
        if not process.can_have_twin:
            raise NotLive("the zygote of its origin's process has ended")
        return process

    def _on_saved(self, state: SavedState) -> None:
        self._runs.on_saved(self._departure.numbered(state))
        self._changed.set()

    def _on_checkpoint(self, checkpoint: CheckpointId, manifest: bytes) -> None:
        self._keeping.committed(checkpoint, manifest)
        if self._runs.is_lagging:
            self._reporter.session_event("checkpoint.saved", checkpoint=str(checkpoint))

    def _give_up_starting(self, reason: str) -> None:
        if self.intake.waiting:
            self._runs.refuse_next(CellStatus.CRASHED, "StartError", reason)
        for request in self._operations.waiting:
            self._operations.begin(request)
        self._operations.waiting = []
        self._operations.abandon(reason)

    def _on_frame(self, frame: Frame) -> None:
        if isinstance(frame, Reply):
            self._operations.end(frame)
        elif isinstance(frame, Blob | Saved):
            self._runs.on_snapshot_part()
            self._keeping.take(frame, self._processes.current)
        elif isinstance(frame, Restored):
            self._keeping.restored(frame)
        else:
            self._runs.on_frame(frame)

    def _on_cells(self) -> None:
        if self._state is ResidentState.READY and not self._is_closing:
            self._runs.pump()
        else:
            self._changed.set()

    def _on_done(self, cell: QueuedCell, done: Done) -> None:
        self._host.accounting.add(self.session_id, cell, done)

    def _on_written(self) -> None:
        self._runs.on_written()
        if self._state is ResidentState.READY and not self._is_closing:
            self._runs.pump()

    def _on_exit(self, cause: str, left: list[tuple[str, str]], is_wanted: bool) -> None:
        self._keeping.ended(cause)
        if self._runs.is_saving and not is_wanted:
            self._keeping.drop()  # what it sent last belongs to cells that will run again
        if is_wanted:
            self._operations.take_back()
        self._operations.abandon(f"the session process ended: {cause}")
        if self._state in {ResidentState.RELEASED, ResidentState.FENCED}:
            return
        if is_wanted:
            self._runs.detach(left)
            self._step(ResidentStep.EXIT)
            return
        head = self._runs.head
        self._log.warning("session.crashed", cause=cause, seq=head.cell.seq if head else None)
        self._runs.on_exit(cause, left, keep_head=self._departure.is_hurried)
        self._step(ResidentStep.EXIT)
        self._changed.set()

    def _released(self, pending: int) -> int:
        if self._state is ResidentState.DRAINING:
            self._step(ResidentStep.RELEASE)
        self._log.info("session.released", pending=pending)
        return pending

    async def _leave(self) -> None:
        self._runs.detach()
        await self._processes.leave(at_once=self._state is ResidentState.FENCED)

    def _step(self, step: ResidentStep) -> None:
        self._state = next_resident(self._state, step)
