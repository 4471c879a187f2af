"""Sends a session's cells to its process, and turns what the process reports about them into events.

When the process ends, only the running cell ends with it. The cells after it have not been started and return to the
queue.
"""

import asyncio

from skep_shared import packed_events
from skep_shared.errors import ProtocolError
from skep_shared.isolation.session_limits import lowest
from skep_shared.protocol.frames import Answer, Configure, Done, Execute, InputRequest, Output
from skep_shared.states import CellStatus
from skep_workers.host.process.listener import CellOutput, ProcessEnd
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.attempts import Attempts
from skep_workers.host.residency.cells.backlog import OutputBacklog
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.cell_run import CellRun, why_last
from skep_workers.host.residency.cells.endings import CANCELLED, LIMIT_EXCEEDED, CellEndings, Refusal
from skep_workers.host.residency.cells.intake import QueuedCell
from skep_workers.host.residency.cells.interrupts import CellInterrupts
from skep_workers.host.residency.cells.recorded_start import RecordedStart
from skep_workers.host.residency.cells.unsaved_cells import UnsavedCells
from skep_workers.host.residency.cells.window import CellWindow
from skep_workers.host.residency.configuration import session_configuration


class CellRuns:
    """The cells of one residency, from the queue to their end."""

    def __init__(self, context: CellContext) -> None:
        self._context = context
        self._intake = context.intake
        self._journal, self._reporter = context.journal, context.reporter
        self._attempts = Attempts(context.claim)
        self.window = window = CellWindow(context.claim.cursor)
        self.unsaved = unsaved = UnsavedCells(context, window)
        self.interrupts = CellInterrupts(context.options.interrupt_grace, window, unsaved)
        self._endings = CellEndings(context, window, unsaved)
        self._recorded_start = RecordedStart(context, window)
        self._backlog = OutputBacklog(context, window)
        self._announcement: asyncio.TimerHandle | None = None
        self._announce_seconds = context.settings.flush_ms / 1000
        self._question: InputRequest | None = None
        self._watch = context.watch

    @property
    def is_settled(self) -> bool:
        """Return whether every cell that was sent has ended, and its state is saved or was lost."""
        return not self.window and not self.unsaved

    def configuration(self) -> Configure:
        """Return the frame with the session's options for a new process."""
        return Configure(session_configuration(self._context.options, self._context.settings))

    def attach(self, process: SessionProcess) -> None:
        """Use a process that is configured and has the session's state."""
        self.window.attach(process)
        self._backlog.reset()

    async def record_first(self) -> None:
        """Record that the first waiting cell begins, before a new process gets it. Raises Fenced."""
        waiting = self._intake.waiting
        if waiting and self.is_settled and not self._attempts.is_last(waiting[0]):
            await self._journal.record_begin(waiting[0].seq)

    def send_cells(self) -> None:
        """Send as many waiting cells as the window allows, and end those that may not run."""
        waiting, process = self._intake.waiting, self.window.process
        # A cell that is sent now would be taken for the cause of the process's end.
        if not waiting or process is None or process.is_ending:
            return
        frames: list[Configure | Execute] = []
        while waiting and not self._recorded_start.is_pending and self._may_send(waiting[0]):
            cell = waiting[0]
            if self._endings.is_postponed(cell.seq):
                if not self.is_settled:
                    break  # it ends without running, after the cells before it
                waiting.popleft()
                self._endings.end_postponed(cell.seq)
                continue
            run = self._attempts.next_run(cell)
            refusal = self._refusal(run)
            if refusal is not None and not self.is_settled:
                self._attempts.resume(run)
                break
            waiting.popleft()
            if refusal is not None:
                self.interrupts.forget_cancellation(cell.seq)
                self._endings.end(run, refusal)
                continue
            is_last = bool(why_last(run))
            frame = self._add(run, is_announced=is_last)
            if is_last:
                self._recorded_start.withhold(run, [frame])  # alone: see _may_send
            else:
                frames.append(frame)
            self.interrupts.cell_sent(run)
        if frames:
            process.execute(frames)
        self._recorded_start.send_if_recorded()  # as it is if the process before this one had the cell

    def _may_send(self, cell: QueuedCell) -> bool:
        after = cell.spec.only_after
        if after is not None and not self._is_decided(cell, after):
            return False
        claim, cursor = self._context.claim, self._journal.cursor
        uncommitted = cell.seq - 1 - cursor
        if uncommitted == 0:
            return True
        # A cell that must not run again is sent alone: only the first uncommitted cell is known to have been started.
        # After a worker's death the cells are sent one by one too, until one has committed. So if a cell kills its
        # workers, the attempt is counted for that cell and for no other.
        is_recovering = claim.losses > 0 and cursor == claim.cursor
        if is_recovering or self._attempts.is_last(cell):
            return False
        return uncommitted < self._context.settings.commit_window

    def _is_decided(self, cell: QueuedCell, after: str) -> bool:
        """Return whether it is known how cell `after` ended, which must have succeeded for this one to run."""
        if self.window.has_cell(after):
            return False
        return self._intake.predecessors.has_ended(after, before=cell.seq, cursor=self._journal.cursor)

    def _refusal(self, run: CellRun) -> Refusal | None:
        """Return how a cell ends without running, None if it may run."""
        cell, after, why_lost = run.cell, run.cell.spec.only_after, self._attempts.why_lost(run)
        if not (why_lost or cell.fault or after or self.interrupts.has_cancellations):
            return None
        failure = self._intake.predecessors.failure_of(after) if after is not None else None
        if why_lost and (failure is None or self._attempts.was_announced(cell)):  # otherwise it can't have begun
            return Refusal(CellStatus.LOST, "WorkerLost", why_lost)
        if cell.fault:
            return Refusal(CellStatus.FAILED, cell.fault_name, cell.fault)
        if failure is not None:
            return Refusal(CellStatus.CANCELLED, "CellCancelled", str(failure), failure)
        return CANCELLED if self.interrupts.is_cancelled(cell.seq) else None

    def _add(self, run: CellRun, *, is_announced: bool) -> Execute:
        """Add a cell to those that are with the process; return the frame to send."""
        run.timeout_seconds = lowest(run.cell.spec.timeout, self._context.wall_seconds)
        self.window.add(run)
        if len(self.window) == 1:
            self._begin(run, is_announced=is_announced)
        cell, spec = run.cell, run.cell.spec
        return Execute(cell.seq, run.attempt, cell.cell_id, spec.code, spec.inputs, run.timeout_seconds)

    def _begin(self, run: CellRun, *, is_announced: bool = False) -> None:
        """Make a cell the running one. Readers are notified soon, even if it has no output.

        is_announced: an event announces it before the process gets it.
        """
        if not is_announced:
            self._journal.begin(run.cell.seq)
        run.since_ms = self._context.clock.now_ms()
        self.window.record_start(run.cell.seq)
        if self._watch is not None:
            self._watch.cell_started()
        call_later = asyncio.get_running_loop().call_later
        self._announcement = call_later(self._announce_seconds, self._reporter.announce, run)
        self.interrupts.cell_started(run)

    def receive_output(self, frame: CellOutput) -> None:
        """Receive output of the running cell, or late output of an earlier one. Raises ProtocolError."""
        if self._watch is not None and not self._watch.admits_output(frame):
            return
        run = self.window.head
        if run is not None:
            self._reporter.output(run, frame)
        else:
            self._reporter.late_output(frame, self.window.next_seq)
        if isinstance(frame, InputRequest):
            self._question = frame
        if self._journal.unwritten_bytes > self._backlog.limit_bytes:
            self._backlog.pause()

    def receive_done(self, frame: Done) -> CellRun:
        """Receive the end of the running cell, and return the cell. Raises ProtocolError."""
        run = self.window.head
        if run is None:
            raise ProtocolError(f"Done for cell {frame.seq}, none runs")
        is_saved = not self.unsaved.commits_with_checkpoint
        self._reporter.done(run, frame, is_saved=is_saved, is_followed=len(self.window) > 1)
        self._intake.predecessors.record_end(run.cell.cell_id, frame.status)
        self._stop_timers()
        self._question = None
        self.window.remove_head()
        self.unsaved.cell_ended(run)
        if self.window.head is not None:
            self._begin(self.window.head)
        self._context.lifecycle.notify()
        self.interrupts.cell_ended(run, frame.status)
        return run

    def answer(self, text: str | None) -> None:
        """Answer the question that the running cell has asked; ignore an answer to no question."""
        question, self._question = self._question, None
        run, process = self.window.head, self.window.process
        if question is None or run is None or process is None:
            return
        process.control(Answer(question.request, text))
        self._reporter.answered(run, question.request, None if question.is_password else text)

    def journal_progressed(self) -> None:
        """React to a write of the journal: the start of a cell may be recorded, and there may be room for output."""
        self._recorded_start.send_if_recorded()
        self._backlog.resume_if_written()

    def prepare_handover(self) -> None:
        """Prepare for the kill of the process because the worker stops, which counts like the worker's death.

        The running cell goes to the next owner as another attempt. If it may have none, it ends here as lost.
        """
        run = self.window.head
        if run is not None and run.killed_as is None and why_last(run):
            run.killed_as = CellStatus.LOST

    def process_ended(self, end: ProcessEnd, *, may_head_run_again: bool) -> None:
        """React to an end of the process that was not requested; the cells that it had return to the queue.

        The running cell ends, unless it may run again. A cell whose process was killed to end it ends in any case.
        """
        self.window.detach()
        self._recorded_start.discard()
        self._stop_timers()
        self._report_leftover(end)
        runs = self.window.remove_all()
        again = self.unsaved.reopen()
        if runs and runs[0].was_not_begun and end.begun < runs[0].cell.seq:  # not between the check and the kill either
            may_head_run_again = True
        if runs and not (may_head_run_again and runs[0].killed_as is None):
            if not again:
                self._endings.end_lost(runs.popleft(), end)
            else:  # the cells before it come first
                self._endings.postpone_lost(runs[0], end)
        elif end.excess is not None and again:
            # The process was killed for what a cell has done that had ended but was not saved: if that ran again, so
            # would this, for ever.
            self._endings.postpone_lost(again[-1], end)
        elif end.excess is not None:
            self._reporter.session_event(packed_events.warning, category=LIMIT_EXCEEDED, message=str(end.excess))
        for run in again:
            if not self._endings.is_postponed(run.cell.seq):
                self._attempts.resume(run)
            self.window.rewind(run.cell.seq)
        for run in runs:
            # A run that was returned to the queue once before: its attempt has been announced.
            if run.is_queued and not self._endings.is_postponed(run.cell.seq):
                self._attempts.resume(run)
        self.interrupts.cells_returned([*again, *runs])
        self._intake.waiting.extendleft(run.cell for run in reversed([*again, *runs]))
        if not self.unsaved.has_checkpoints:
            message = f"the session process ended ({end.cause}); its variables are lost, since durability is none"
            self._reporter.session_event(packed_events.warning, category="namespace.lost", message=message)

    def detach(self, end: ProcessEnd | None = None) -> None:
        """Stop using the process: it has ended in order, or the residency ends. Its leftover output is reported."""
        if end is not None:
            self._report_leftover(end)
        self._stop_timers()
        self.unsaved.stop()
        self.window.detach()

    def refuse_next(self, refusal: Refusal) -> None:
        """End the first waiting cell without running it; one that ended with its process ends as lost."""
        cell = self._intake.waiting.popleft()
        if self._endings.is_postponed(cell.seq):
            self._endings.end_postponed(cell.seq)
        else:
            self._endings.end(self._attempts.next_run(cell), refusal)

    def _report_leftover(self, end: ProcessEnd) -> None:
        head, next_seq = self.window.head, self.window.next_seq
        for stream, text in end.leftover:
            if head is not None:
                self._reporter.output(head, Output(head.cell.seq, head.attempt, stream, text))
            else:
                self._reporter.late_output(Output(next_seq - 1, 1, stream, text), next_seq)

    def _stop_timers(self) -> None:
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        self.interrupts.stop_timer()
