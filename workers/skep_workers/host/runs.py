"""The cells that are with a session's process: up to a window of them, the first one running.

The process runs them one after the other, so host and process agree on which one runs without a word: it is the first
that has not ended. When the process ends, it takes only that one with it; those behind it had not been started and go
back to the queue.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from skep_shared.errors import ProtocolError
from skep_shared.frames import (
    Answer,
    Configure,
    Done,
    Execute,
    Failure,
    Frame,
    InputRequest,
    Interrupt,
    Output,
    Withdraw,
)
from skep_shared.models import SessionOptions
from skep_shared.script_replies import Claim
from skep_shared.settings import WorkerSettings
from skep_shared.states import CellStatus
from skep_workers.host.attempts import SHUT_DOWN, Attempts, why_not_again
from skep_workers.host.checkpoints import SavedState
from skep_workers.host.clock import RedisClock
from skep_workers.host.intake import CellIntake, QueuedCell
from skep_workers.host.journal import Journal
from skep_workers.host.kill_timer import KillTimer, kill_seconds
from skep_workers.host.process import SessionProcess
from skep_workers.host.reporter import CellRun, Reporter, Saying
from skep_workers.host.save_watch import SaveWatch
from skep_workers.host.session_configuration import session_configuration


class CellRuns:
    """Hands cells over, and turns what the process says of them into events."""

    def __init__(
        self,
        claim: Claim,
        settings: WorkerSettings,
        clock: RedisClock,
        intake: CellIntake,
        writing: tuple[Journal, Reporter],
        on_change: Callable[[], None],
        on_done: Callable[[QueuedCell, Done], None],
    ) -> None:
        """`on_change` is called when a cell has ended, `on_done` when its process says how."""
        self._on_done = on_done
        self._options = SessionOptions.unpack(claim.options)
        self._claim = claim
        self._settings = settings
        self._clock = clock
        self._intake = intake
        self._journal, self._reporter = writing
        self._on_change = on_change
        self._process: SessionProcess | None = None
        self._runs: deque[CellRun] = deque()
        self._next_seq = claim.cursor + 1
        self._attempts = Attempts(claim)
        self._announcement: asyncio.TimerHandle | None = None
        self._kill_timer = KillTimer(self._options.interrupt_grace, self._kill_for)
        self._saving = SaveWatch(
            settings.snapshot_seconds,
            kill_seconds(self._options.interrupt_grace),
            self.go_on_unsaved,
            self._give_up_process,
        )
        self._interrupts: set[int] = set()
        self._cancels: set[int] = set()
        self._question: InputRequest | None = None
        self._is_paused = False
        self._is_held = False
        self._withheld: list[Configure | Execute] = []  # until its start is written, as the event of this number
        self._announced_event = 0
        self._lost: tuple[tuple[str, str], ...] = ()
        self.started_seq = claim.cursor  # the highest one that has been with a process as the one that runs
        self._early: SavedState | None = None
        self._unsaved: dict[int, CellRun] = {}
        self._verdicts: dict[int, tuple[CellRun, str]] = {}
        self.is_saving: Final = self._options.durability == "commit"  # a cell waits for its checkpoint
        self.is_lagging: Final = self._options.durability == "relaxed"  # the checkpoint comes after
        self.is_kept: Final = self.is_saving or self.is_lagging

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[CellRun]:
        return iter(self._runs)

    @property
    def is_settled(self) -> bool:
        """Tell whether every cell that was handed over has ended, and its state is saved or was lost."""
        return not self._runs and not self._unsaved

    @property
    def is_saved(self) -> bool:
        """Tell whether every cell that has ended would stay so if its process went."""
        return not self._unsaved

    @property
    def head(self) -> CellRun | None:
        """The cell that runs."""
        return self._runs[0] if self._runs else None

    @property
    def ended_seq(self) -> int:
        """Return the last cell that has ended, committed or not."""
        return self._next_seq - 1

    def configuration(self) -> Configure:
        """Give the frame that tells a new process the session's options."""
        return Configure(session_configuration(self._options, self._settings))

    def attach(self, process: SessionProcess) -> None:
        """Take a process that is configured and has the session's state."""
        self._process = process
        self._is_paused = False
        self.pump()

    def hold(self, *, held: bool = True) -> None:
        """Hand no cell over: the process is to leave, and another one takes its place."""
        self._is_held = held
        if not held:
            self.pump()

    def pump(self) -> None:
        """Hand over as many waiting cells as the window allows."""
        waiting = self._intake.waiting
        if self._process is None or self._process.is_ending or self._is_held:  # it would count as what has ended it
            return
        frames: list[Configure | Execute] = []
        while waiting and not self._withheld and self._may_send(waiting[0]):
            cell = waiting.popleft()
            verdict = self._verdicts.get(cell.seq)
            is_last = self._attempts.is_last(cell)
            run = verdict[0] if verdict is not None else self._attempts.next_run(cell)
            attempt = run.attempt
            why_lost = self._attempts.why_lost(run)
            if (verdict is not None or why_lost or cell.fault) and not self.is_settled:
                if verdict is None:
                    self._attempts.go_on_with(run)
                waiting.appendleft(cell)  # it ends without running, after those before it
                break
            if verdict is not None:
                self._end_lost_head(*self._verdicts.pop(cell.seq))
                continue
            if why_lost:
                self.refuse(run, CellStatus.LOST, "WorkerLost", why_lost)
                continue
            if cell.fault:
                self.refuse(run, CellStatus.FAILED, "CellUnreadable", cell.fault)
                continue
            if cell.seq in self._cancels and self.is_settled:
                self._cancels.discard(cell.seq)
                self.refuse(run, CellStatus.CANCELLED, "CellCancelled", "the cell was cancelled before it started")
                continue
            self._runs.append(run)
            if len(self._runs) == 1:
                self._begin(run, is_told=is_last)
            frames.append(Execute(cell.seq, attempt, cell.cell_id, cell.spec.code, cell.spec.inputs, cell.spec.timeout))
            if is_last:  # it has the process for itself until then, see _may_send
                self._withheld, frames = frames, []
                self._reporter.announce(run)
                self._announced_event = self._journal.last_event
                self._journal.flush()
            if cell.seq in self._interrupts:
                self._interrupts.discard(cell.seq)
                self._send_interrupt(run)
            if cell.seq in self._cancels:
                self._cancels.discard(cell.seq)
                self._process.control(Withdraw(cell.seq, attempt))
        if frames:
            self._process.execute(frames)

    def _may_send(self, cell: QueuedCell) -> bool:
        uncommitted = cell.seq - 1 - self._journal.cursor
        # A cell that must not run again goes alone: only the first uncommitted cell is known to have been started.
        # After a loss the cells go one by one too, until one has committed: so the one that kills workers is counted.
        recovering = self._claim.losses > 0 and self._journal.cursor == self._claim.cursor
        if recovering or self._attempts.is_last(cell):
            return uncommitted == 0
        return uncommitted < self._settings.commit_window

    def interrupt(self, seq: int) -> None:
        """End one cell (0: the running one), now or when it starts; one that has ended is left alone."""
        if seq == 0:
            seq = self._runs[0].cell.seq if self._runs else self._next_seq - 1
        if seq < self._next_seq:
            if seq in self._unsaved:
                self._saving.interrupt()
            return
        for run in self._runs:
            if run.cell.seq == seq:
                self._send_interrupt(run)
                return
        self._interrupts.add(seq)

    def cancel(self, seq: int) -> None:
        """Take a cell out that has not started; one that has is left alone."""
        if seq < self._next_seq or (self.head is not None and self.head.cell.seq == seq):
            return
        for run in self._runs:
            if run.cell.seq == seq and self._process is not None:
                self._process.control(Withdraw(seq, run.attempt))
                return
        self._cancels.add(seq)

    def answer(self, text: str | None) -> None:
        """Answer the question that the running cell has put; without one, nobody waits for the answer."""
        question, self._question = self._question, None
        run = self.head
        if question is None or run is None or self._process is None:
            return
        self._process.control(Answer(question.request, text))
        self._reporter.answered(run, question.request, None if question.is_password else text)

    def on_frame(self, frame: Frame) -> None:
        """Take the process's next frame. Raises ProtocolError for one that it can't say now."""
        run = self.head
        match frame:
            case Done():
                if run is None:
                    raise ProtocolError(f"Done for cell {frame.seq}, none runs")
                is_followed = len(self._runs) > 1
                self._reporter.done(run, frame, is_saved=not self.is_saving, is_followed=is_followed)
                self._end_head()
                if run.is_interrupted and frame.status != CellStatus.INTERRUPTED:
                    self._saving.interrupt()  # the code had ended: it is its saving that was meant
                self._on_done(run.cell, frame)
            case _ if isinstance(frame, Saying):
                if run is not None:
                    self._reporter.frame(run, frame)
                else:
                    self._reporter.late_frame(frame, self._next_seq)
                if isinstance(frame, InputRequest):
                    self._question = frame
                if self._process is not None and self._journal.unwritten_bytes > self._settings.backlog_bytes:
                    self._is_paused = True
                    self._process.pause_reading()
            case _:
                raise ProtocolError(f"{type(frame).__name__} does not belong on the cell socket")

    def on_saved(self, state: SavedState) -> None:
        """The chunks of a checkpoint are stored: the cells up to it may commit."""
        if state.seq >= self._next_seq:
            self._early = state  # it came on another socket than the end of the cell, which is still to come
            return
        self._saving.progress()
        covered = [seq for seq in self._unsaved if seq <= state.seq]
        for seq in covered:
            del self._unsaved[seq]
        if not self._unsaved:
            self._saving.stop()
        if state.failure:
            self._reporter.session_event("checkpoint.failed", after=state.seq, reason=state.failure)
        if state.manifest and state.lost != self._lost:
            self._lost = state.lost
            self._reporter.session_event("checkpoint.partial", checkpoint=str(state.checkpoint), lost=dict(state.lost))
        is_late = self.is_saving and not covered and not state.kind  # its cells have committed without it
        if self.is_lagging or state.kind == "last" or is_late:
            self._save_apart(state, is_late=is_late)
        else:
            self._journal.saved(state)

    def on_snapshot_part(self) -> None:
        """A part of a snapshot has come from the process."""
        self._saving.progress()

    def go_on_unsaved(self, reason: str) -> None:
        """Let the cells that wait for their checkpoint commit without; one that comes later is written by itself."""
        if self._unsaved:
            self.on_saved(SavedState(max(self._unsaved), failure=reason))
            self._on_change()

    def _give_up_process(self, reason: str) -> None:
        self.go_on_unsaved(reason)
        if self._process is not None:
            self._process.kill()

    def _save_apart(self, state: SavedState, *, is_late: bool) -> None:
        if state.failure:
            return
        if is_late and not state.manifest:
            self._journal.unsaved = ""  # the checkpoint before holds again
            return
        self._journal.save_apart(state)
        if is_late:
            self._reporter.session_event("checkpoint.saved", checkpoint=str(state.checkpoint))

    def on_written(self) -> None:
        """The journal has written something: there may be room for output, or a cell's start is on record."""
        if self._withheld and self._process is not None and self._journal.last_written >= self._announced_event:
            withheld, self._withheld = self._withheld, []
            self._process.execute(withheld)
        if self._is_paused and self._journal.unwritten_bytes <= self._settings.backlog_bytes // 2:
            self._is_paused = False
            if self._process is not None:
                self._process.resume_reading()

    def give_up(self) -> None:
        """Prepare for the kill that the worker's shutting down is for the running cell: as its worker's death.

        The cell goes to the next owner as another attempt, unless it may have none: then it ends here as lost.
        """
        run = self.head
        if run is not None and run.killed_as is None and why_not_again(run):
            run.killed_as = CellStatus.LOST

    def on_exit(self, cause: str, left: list[tuple[str, str]], *, keep_head: bool) -> None:
        """The process has ended, leaving this in its pipes; with `keep_head` the running cell may run again.

        One whose process was killed for its own sake ends all the same.
        """
        self._process = None
        self._withheld = []
        self._early = None
        self._stop_timers()
        self._report_left(left)
        runs, self._runs = self._runs, deque()
        again = self._journal.reopen(lambda seq: self._reporter.retried(self._unsaved[seq]))
        back = [self._unsaved[seq] for seq in again]
        self._unsaved.clear()
        self._saving.stop()
        if runs and not (keep_head and runs[0].killed_as is None):
            if not back:
                self._end_lost_head(runs.popleft(), cause)
            else:  # those before it come first
                self._verdicts[runs[0].cell.seq] = (runs[0], cause)
        for run in back:
            self._attempts.go_on_with(run)
            self._next_seq = min(self._next_seq, run.cell.seq)
        for run in runs:
            # It was sent back once before: the attempt it is at has been told of.
            if run.first_event and run.cell.seq not in self._verdicts:
                self._attempts.go_on_with(run)
        self._intake.waiting.extendleft(run.cell for run in reversed([*back, *runs]))
        if not self.is_kept:
            message = f"the session process ended ({cause}); its names are gone, since durability is none"
            self._reporter.session_event("warning", category="namespace.lost", message=message)

    def _report_left(self, left: Sequence[tuple[str, str]]) -> None:
        head = self.head
        for stream, text in left:
            if head is not None:
                self._reporter.frame(head, Output(head.cell.seq, head.attempt, stream, text))
            else:
                self._reporter.late_frame(Output(self._next_seq - 1, 1, stream, text), self._next_seq)

    def refuse(self, run: CellRun, status: CellStatus, ename: str, evalue: str) -> None:
        """End a cell without running it, or without its process saying how."""
        self._reporter.frame(run, Failure(run.cell.seq, run.attempt, ename, evalue, f"{ename}: {evalue}\n"))
        run_ms = self._clock.now_ms() - run.since_ms if run.since_ms else 0.0
        self._reporter.end(run, status, run_ms, is_saved=True)
        self._next_seq = run.cell.seq + 1
        if self.is_lagging:
            self._journal.save_apart(SavedState(run.cell.seq, kind="void"))

    def refuse_next(self, status: CellStatus, ename: str, evalue: str) -> None:
        """End the first waiting cell without running it; one whose process has ended with it ends as that says."""
        cell = self._intake.waiting.popleft()
        verdict = self._verdicts.pop(cell.seq, None)
        if verdict is not None:
            self._end_lost_head(*verdict)
        else:
            self.refuse(self._attempts.next_run(cell), status, ename, evalue)

    def detach(self, left: Sequence[tuple[str, str]] = ()) -> None:
        """Say nothing more of what runs but this, which was left in the pipes: the process has ended as it should."""
        self._report_left(left)
        self._stop_timers()
        self._saving.stop()
        self._process = None

    async def note_first(self) -> None:
        """Note that the first waiting cell begins, before a new process gets it. Raises Fenced."""
        waiting = self._intake.waiting
        if waiting and self.is_settled and not self._attempts.is_last(waiting[0]):
            await self._journal.note_begin(waiting[0].seq)

    def _begin(self, run: CellRun, *, is_told: bool = False) -> None:
        """The cell is the one that runs from now on; readers hear of it soon even if it says nothing.

        is_told: an event tells of it before the process gets it.
        """
        if not is_told:
            self._journal.begin(run.cell.seq)
        run.since_ms = self._clock.now_ms()
        self.started_seq = max(self.started_seq, run.cell.seq)
        delay = self._settings.flush_ms / 1000
        self._announcement = asyncio.get_running_loop().call_later(delay, self._reporter.announce, run)
        if run.is_interrupted:
            self._kill_timer.start(run, 0.0, CellStatus.INTERRUPTED)
        elif run.cell.spec.timeout is not None:
            self._kill_timer.start(run, run.cell.spec.timeout, CellStatus.TIMED_OUT)

    def _send_interrupt(self, run: CellRun) -> None:
        if self._process is None:
            return
        run.is_interrupted = True
        self._process.control(Interrupt(run.cell.seq, run.attempt))
        if run is self.head:
            self._kill_timer.start(run, 0.0, CellStatus.INTERRUPTED)

    def _kill_for(self, run: CellRun, status: CellStatus) -> None:
        if run is self.head and self._process is not None:
            run.killed_as = status
            self._process.kill()

    def _end_lost_head(self, run: CellRun, cause: str) -> None:
        """End the cell that ran when the process ended, or was ended for the cell's sake."""
        if run.killed_as is None:
            self.refuse(run, CellStatus.CRASHED, "SessionCrashed", f"the session process ended: {cause}")
        elif run.killed_as is CellStatus.TIMED_OUT:
            limit = f"its timeout of {run.cell.spec.timeout:g} s"
            self.refuse(run, run.killed_as, "TimeoutError", f"the cell ran into {limit} and had to be killed")
        elif run.killed_as is CellStatus.LOST:
            reason = f"{SHUT_DOWN} before the cell had ended, and {why_not_again(run)}"
            self.refuse(run, run.killed_as, "WorkerLost", reason)
        else:
            self.refuse(run, run.killed_as, "KeyboardInterrupt", "the cell did not end when interrupted; it was killed")

    def _end_head(self) -> None:
        self._stop_timers()
        self._question = None
        ended = self._runs.popleft()
        self._next_seq = ended.cell.seq + 1
        if self.is_saving:
            self._unsaved[ended.cell.seq] = ended
            self._saving.expect(ended.cell.spec.timeout)
        early = self._early
        if early is not None and early.seq < self._next_seq:
            self._early = None
            self.on_saved(early)
        if self._runs:
            self._begin(self._runs[0])
        self._on_change()

    def _stop_timers(self) -> None:
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        if self._kill_timer.timer is not None:
            self._kill_timer.stop()
