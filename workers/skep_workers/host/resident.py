"""One session's stay on this worker: its cells in, its process, its events out, and the way it ends.

Up to `commit_window` cells are with the process, which runs them one after the other; the first of those is the one
that runs. What the process says of them becomes events in the journal, which commits. A process that ends takes only
the running cell with it: that one is `crashed`, the next one starts another process.

The stay ends in one of four ways: released (drained; what is pending goes elsewhere), closed, fenced (another worker
has the session: the process is killed at once, nothing is written), or with the worker itself.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from redis.asyncio import Redis

from skep_shared.errors import EventGap, Fenced, ProtocolError, StartError
from skep_shared.frames import Done, Execute, Failure, Frame, Notice, Output, Pong, Result
from skep_shared.scripts import Claim, Scripts
from skep_shared.settings import WorkerSettings
from skep_shared.states import CellStatus, ResidentState, ResidentStep, next_resident
from skep_workers.host.backoff import RETRIABLE, backoff_delays
from skep_workers.host.clock import RedisClock
from skep_workers.host.intake import CellIntake, QueuedCell
from skep_workers.host.journal import Journal
from skep_workers.host.process import SessionProcess
from skep_workers.host.reporter import CellRun, Reporter
from skep_workers.host.zygote import Zygote

log = structlog.get_logger()

MAX_STARTS: Final = 3
INTERRUPT_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Host:
    """What a resident needs of its worker."""

    worker_id: str
    settings: WorkerSettings
    redis: Redis
    scripts: Scripts
    clock: RedisClock
    zygote: Zygote
    directory: Path


class Resident:
    """A session that this worker owns."""

    def __init__(self, host: Host, claim: Claim) -> None:
        self._host = host
        self._claim = claim
        self.session_id: Final = claim.session_id
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)
        self._journal = Journal(host.scripts, claim, host.settings, self._on_written)
        self._reporter = Reporter(self._journal, host.clock, claim.epoch)
        self.intake: Final = CellIntake(
            host.redis, host.scripts.keys, claim.session_id, after=claim.cursor, on_cells=self._pump
        )
        self._state = ResidentState.CLAIMED
        self._process: SessionProcess | None = None
        self._directory: Path | None = None
        self._runs: deque[CellRun] = deque()
        self._announcement: asyncio.TimerHandle | None = None
        self._interrupts: set[int] = set()
        self._closing = claim.closing
        self._abandons = False
        self._is_lost = False
        self._is_paused = False
        self._next_seq = claim.cursor + 1
        self._changed = asyncio.Event()

    @property
    def state(self) -> ResidentState:
        """Where the stay stands."""
        return self._state

    @property
    def is_idle(self) -> bool:
        """Tell whether no cell runs, waits, or is being committed."""
        return not self._runs and not self.intake.waiting and self._journal.unwritten_bytes == 0

    def close(self) -> None:
        """End the session: interrupt what runs, cancel what waits."""
        self._closing = True
        self._changed.set()

    def interrupt(self, seq: int) -> None:
        """End one cell (0: the running one), now or when it starts; one that has ended is left alone."""
        if seq == 0:
            if not self._runs:
                return
            seq = self._runs[0].cell.seq
        if seq <= self._journal.cursor:
            return
        for run in self._runs:
            if run.cell.seq == seq and self._process is not None:
                self._process.interrupt(seq, run.attempt)
                return
        self._interrupts.add(seq)

    async def run(self) -> int:
        """Stay until released, closed or fenced; gives the number of cells left pending for another owner."""
        self._log.info("session.claimed", cursor=self._claim.cursor, pending=self._claim.seq - self._claim.cursor)
        pending = 0
        try:
            async with asyncio.TaskGroup() as group:
                writers = [
                    group.create_task(self._journal.run(), name=f"journal of {self.session_id}"),
                    group.create_task(self.intake.run(), name=f"intake of {self.session_id}"),
                ]
                self._introduce()
                self.intake.expect(self._claim.seq)
                pending = await self._stay()
                for writer in writers:
                    writer.cancel()
        except* Fenced as group_exc:
            self._step(ResidentStep.FENCE)
            self._log.warning("session.fenced", error=str(group_exc.exceptions[0]))
        except* EventGap as group_exc:
            # The stream is not where this owner left it: Redis has gone back. Whoever claims next reads the truth.
            self._step(ResidentStep.FENCE)
            self._log.error("session.gap", error=str(group_exc.exceptions[0]))
            with contextlib.suppress(Fenced):
                pending = await self._release()
        finally:
            await self._leave()
        return pending

    def check(self, *, seq: int, token: str, closing: bool) -> None:
        """Compare with what Redis says: cells that were not announced come in, a lost session ends."""
        if token != self._claim.token:
            self._is_lost = True
        self._closing = self._closing or closing
        self.intake.expect(seq)
        self._changed.set()

    def drain(self) -> None:
        """Take no more cells; the stay ends when what runs has ended."""
        if self._state not in {ResidentState.RELEASED, ResidentState.FENCED}:
            self._step(ResidentStep.DRAIN)
            self._changed.set()

    def hurry(self) -> None:
        """End a drain: interrupt what runs, and leave to the next owner what doesn't end by that."""
        self._abandons = True
        self._changed.set()

    # --- the stay -------------------------------------------------------------------------------------------------

    def _introduce(self) -> None:
        previous = self._claim.previous_owner
        if previous and previous != self._host.worker_id:
            reason = "the worker that had it died" if self._claim.losses else "it was released there"
            self._reporter.session_event(
                "session.moved", worker_id=self._host.worker_id, from_worker_id=previous, reason=reason
            )

    async def _stay(self) -> int:
        starts = 0
        while True:
            self._changed.clear()
            if self._is_lost:
                raise Fenced(self.session_id, self._claim.epoch + 1)
            if self._closing:
                return await self._end_session()
            if self._state is ResidentState.DRAINING:
                return await self._release_when_quiet()
            if self._state is ResidentState.CLAIMED and self.intake.waiting:
                try:
                    await self._start_process()
                    starts = 0
                except StartError as exc:
                    starts += 1
                    self._log.warning("session.start_failed", error=str(exc), starts=starts)
                    if starts >= MAX_STARTS:
                        starts = 0
                        self._fail_next(str(exc))
                continue
            await self._changed.wait()

    async def _start_process(self) -> None:
        self._step(ResidentStep.START)
        if self._directory is None:
            prefix = f"{self.session_id[:40]}-"
            self._directory = Path(tempfile.mkdtemp(prefix=prefix, dir=self._host.directory))
        process = SessionProcess(self._on_frame, self._on_exit)
        try:
            hello = await process.start(self._host.zygote, self._directory, self._host.settings.start_seconds)
        except StartError:
            self._step(ResidentStep.EXIT)
            raise
        self._process = process
        self._step(ResidentStep.HELLO)
        self._reporter.session_event("session.started", worker_id=self._host.worker_id, python=hello.python)
        self._log.info("session.started", pid=process.pid)
        self._pump()

    def _pump(self) -> None:
        """Hand cells to the process, as many as the window allows."""
        if self._state is ResidentState.CLAIMED:
            self._changed.set()
        if self._process is None or self._closing or self._state not in {ResidentState.READY, ResidentState.RUNNING}:
            return
        frames = []
        while self.intake.waiting and self._may_send(self.intake.waiting[0]):
            cell = self.intake.waiting.popleft()
            attempt = self._claim.losses + 1 if cell.seq == self._claim.cursor + 1 else 1
            run = CellRun(cell, attempt)
            if attempt > 1 and (cell.spec.on_worker_loss == "fail" or attempt > cell.spec.max_attempts):
                reason = f"its worker died {self._claim.losses} times while it may have been running"
                self._refuse(run, CellStatus.LOST, "WorkerLost", reason)
                continue
            self._runs.append(run)
            if len(self._runs) == 1:
                self._step(ResidentStep.CELL)
                self._begin(run)
            frames.append(Execute(cell.seq, attempt, cell.cell_id, cell.spec.code, cell.spec.inputs, cell.spec.timeout))
            if cell.seq in self._interrupts:
                self._interrupts.discard(cell.seq)
                self._process.interrupt(cell.seq, attempt)
        if frames:
            self._process.execute(frames)

    def _may_send(self, cell: QueuedCell) -> bool:
        uncommitted = cell.seq - 1 - self._journal.cursor
        # A cell that must not run twice goes alone: only the first uncommitted cell is known to have been started.
        # After a loss the cells go one by one too, until one has committed: so the one that kills workers is counted.
        recovering = self._claim.losses > 0 and self._journal.cursor == self._claim.cursor
        if cell.spec.on_worker_loss == "fail" or recovering:
            return uncommitted == 0
        return uncommitted < self._host.settings.commit_window

    def _begin(self, run: CellRun) -> None:
        """The cell is the one that runs from now on; readers hear of it soon even if it says nothing."""
        run.since_ms = self._host.clock.now_ms()
        delay = self._host.settings.flush_ms / 1000
        self._announcement = asyncio.get_running_loop().call_later(delay, self._reporter.announce, run)

    def _refuse(self, run: CellRun, status: CellStatus, ename: str, evalue: str) -> None:
        """End a cell without running it, or without its process saying how."""
        self._reporter.announce(run)
        self._reporter.frame(run, Failure(run.cell.seq, run.attempt, ename, evalue, f"{ename}: {evalue}\n"))
        self._finish(run, status)

    def _finish(self, run: CellRun, status: CellStatus) -> None:
        run_ms = self._host.clock.now_ms() - run.since_ms if run.since_ms else 0.0
        self._reporter.end(run, status, run_ms)
        self._next_seq = run.cell.seq + 1

    def _fail_next(self, reason: str) -> None:
        run = CellRun(self.intake.waiting.popleft(), 1)
        self._refuse(run, CellStatus.CRASHED, "StartError", reason)

    # --- what the process says ------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        run = self._runs[0] if self._runs else None
        match frame:
            case Done():
                if run is None:
                    raise ProtocolError(f"Done for cell {frame.seq}, none runs")
                self._reporter.done(run, frame)
                self._on_done(run, frame.status)
            case Output() | Result() | Failure() | Notice():
                if run is not None:
                    self._reporter.frame(run, frame)
                else:
                    self._reporter.late_frame(frame, self._next_seq)
                self._hold_back()
            case Pong():
                pass
            case _:
                raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")

    def _on_done(self, run: CellRun, status: str) -> None:
        self._next_seq = run.cell.seq + 1
        self._runs.popleft()
        if self._announcement is not None:
            self._announcement.cancel()
        if self._runs:
            self._begin(self._runs[0])
        else:
            self._step(ResidentStep.DONE)
        self._changed.set()
        self._log.debug("cell.finished", cell_id=run.cell.cell_id, seq=run.cell.seq, status=status)

    def _hold_back(self) -> None:
        if self._process is not None and self._journal.unwritten_bytes > self._host.settings.backlog_bytes:
            self._is_paused = True
            self._process.pause_reading()

    def _on_written(self) -> None:
        if self._is_paused and self._journal.unwritten_bytes <= self._host.settings.backlog_bytes // 2:
            self._is_paused = False
            if self._process is not None:
                self._process.resume_reading()
        self._pump()

    def _on_exit(self, cause: str, left: list[tuple[str, str]]) -> None:
        if self._process is None:
            return  # it never said hello: its start has failed, and is told there
        self._process = None
        if self._announcement is not None:
            self._announcement.cancel()
        if self._state in {ResidentState.RELEASED, ResidentState.FENCED}:
            return
        runs, self._runs = self._runs, deque()
        for stream, text in left:
            if runs:
                self._reporter.frame(runs[0], Output(runs[0].cell.seq, runs[0].attempt, stream, text))
            else:
                self._reporter.late_frame(Output(self._next_seq - 1, 1, stream, text), self._next_seq)
        if runs and not self._abandons:
            self._log.warning("session.crashed", cause=cause, seq=runs[0].cell.seq)
            self._refuse(runs.popleft(), CellStatus.CRASHED, "SessionCrashed", f"the session process ended: {cause}")
        # Those behind it were with the process and had not been started.
        self.intake.waiting.extendleft(run.cell for run in reversed(runs))
        self._reporter.session_event(
            "warning", category="namespace.lost", message=f"the session process ended ({cause}); its names are gone"
        )
        self._step(ResidentStep.EXIT)
        self._changed.set()

    # --- the end of the stay --------------------------------------------------------------------------------------

    async def _end_session(self) -> int:
        """Close: cancel what waits, interrupt what runs, and say that it is over."""
        await self._retry(self._learn_last_seq)
        while True:
            self._changed.clear()
            while self.intake.waiting:
                run = CellRun(self.intake.waiting.popleft(), 1)
                self._refuse(
                    run, CellStatus.CANCELLED, "SessionClosed", "the session was closed before the cell started"
                )
            for run in self._runs:
                self.interrupt(run.cell.seq)
            if not self._runs and self.intake.is_complete:
                break
            try:
                async with asyncio.timeout(INTERRUPT_GRACE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if self._process is not None and self._runs:
                    self._process.kill()
        await self._journal.written()
        event = self._reporter.pack("session.closed")
        first = self._journal.last_event + 1
        await self._retry(
            lambda: self._host.scripts.release(
                self._claim, self._host.worker_id, closing_event=event, first_event=first
            )
        )
        self._state = ResidentState.RELEASED
        self._log.info("session.closed")
        return 0

    async def _learn_last_seq(self) -> int:
        reply = await self._host.redis.hmget(self._host.scripts.keys.session(self.session_id), ["seq"])  # type: ignore[misc]
        self.intake.expect(int(reply[0] or 0))
        return self.intake.known

    async def _release_when_quiet(self) -> int:
        while self._runs and not self._abandons:
            self._changed.clear()
            await self._changed.wait()
        if self._runs and self._process is not None:
            self._process.interrupt(self._runs[0].cell.seq, self._runs[0].attempt)
            head = self._runs[0]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERRUPT_GRACE_SECONDS):
                    while self._runs and self._runs[0] is head:
                        self._changed.clear()
                        await self._changed.wait()
            if self._process is not None:
                self._process.kill()
                await self._process.gone.wait()
        await self._journal.written()
        return await self._release()

    async def _release(self) -> int:
        pending = await self._retry(lambda: self._host.scripts.release(self._claim, self._host.worker_id))
        if self._state is ResidentState.DRAINING:
            self._step(ResidentStep.RELEASE)
        self._log.info("session.released", pending=pending)
        return pending

    async def _leave(self) -> None:
        if self._announcement is not None:
            self._announcement.cancel()
        process = self._process
        if process is not None:
            if self._state is ResidentState.FENCED:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _retry(self, call: Callable[[], Awaitable[int]]) -> int:
        for delay in backoff_delays():
            try:
                return await call()
            except RETRIABLE as exc:
                self._log.warning("session.retry", error=repr(exc))
                await asyncio.sleep(delay)
        raise AssertionError("backoff_delays never ends")

    def _step(self, step: ResidentStep) -> None:
        self._state = next_resident(self._state, step)
