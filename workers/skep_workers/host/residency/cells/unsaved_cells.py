"""Cells that have ended and commit only with their checkpoint, or with the reason why there is none."""

from typing import Final

from skep_shared import packed_events
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.cells.kill_timer import kill_seconds
from skep_workers.host.residency.cells.start_watch import StartWatch
from skep_workers.host.residency.cells.window import CellWindow
from skep_workers.host.residency.checkpoint_deadline import SaveWatch


class UnsavedCells:
    """Waits for the checkpoints of cells, and passes each on to the journal."""

    def __init__(self, context: CellContext, window: CellWindow) -> None:
        self._window = window
        self._lifecycle = context.lifecycle
        self._journal, self._reporter = context.journal, context.reporter
        self._runs: dict[int, CellRun] = {}
        self._early: SavedState | None = None
        self._lost: tuple[tuple[str, str], ...] = ()
        self._watch = SaveWatch(
            context.settings.snapshot_seconds,
            kill_seconds(context.options.interrupt_grace),
            self._wait_no_longer,
            self._kill_stuck_process,
        )
        self._starts = StartWatch(
            window, self._watch.silence_seconds, context.settings.snapshot_seconds, self._kill_process_that_begins_none
        )
        durability = context.options.durability
        self.commits_with_checkpoint: Final = durability == "commit"  # a cell waits for its checkpoint
        self.commits_before_checkpoint: Final = durability == "relaxed"  # the checkpoint follows later
        self.has_checkpoints: Final = self.commits_with_checkpoint or self.commits_before_checkpoint

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, seq: int) -> bool:
        return seq in self._runs

    def cell_ended(self, run: CellRun) -> None:
        """Make a cell wait for its checkpoint, if cells do; that checkpoint may have arrived already."""
        if self.commits_with_checkpoint:
            self._runs[run.cell.seq] = run
            self._watch.expect(is_limited=run.timeout_seconds is not None or run.is_interrupted)
        elif self.commits_before_checkpoint:
            self._starts.begin()
        early = self._early
        if early is not None and early.seq < self._window.next_seq:
            self._early = None
            self.state_saved(early)

    def state_saved(self, state: SavedState) -> None:
        """Commit the cells up to a checkpoint whose chunks are stored, or to one that could not be made."""
        if state.seq >= self._window.next_seq:
            self._early = state  # it arrived on another socket than the end of its cell, which is still to arrive
            return
        self.progress()
        covered = [seq for seq in self._runs if seq <= state.seq]
        for seq in covered:
            del self._runs[seq]
        if not self._runs:
            self._watch.stop()
        is_late = self.commits_with_checkpoint and not covered and not state.kind  # its cells have committed without it
        if self.commits_before_checkpoint or state.kind == "last" or is_late:
            self._save_separately(state, is_late=is_late)
        elif state.failure:
            # One by one: they may be in more than one commit, and the worker may die between these.
            for seq in covered:
                unsaved = SavedState(seq, failure=state.failure)
                self._journal.saved(unsaved, self._reports(unsaved))
        else:
            self._journal.saved(state, self._reports(state))

    def _reports(self, state: SavedState) -> list[bytes]:
        """Return the events that are due about a checkpoint, or about one that could not be made."""
        if state.failure:
            head = self._reporter.session_head()
            return [packed_events.checkpoint_failed(head, after=state.seq, reason=state.failure)]
        if state.manifest and state.lost != self._lost:
            self._lost, head = state.lost, self._reporter.session_head()
            return [packed_events.checkpoint_partial(head, checkpoint=str(state.checkpoint), lost=dict(state.lost))]
        return []

    def _save_separately(self, state: SavedState, *, is_late: bool) -> None:
        for event in self._reports(state):
            self._journal.add(event)
        if state.failure:
            return
        if is_late and not state.manifest:
            self._journal.saved_unchanged()
            return
        self._journal.save_separately(state)
        if is_late:
            self._reporter.session_event(packed_events.checkpoint_saved, checkpoint=str(state.checkpoint))

    def record_no_effect(self, seq: int) -> None:
        """Record that a cell has ended without any effect on the state, where checkpoints follow later."""
        if self.commits_before_checkpoint:
            self._journal.save_separately(SavedState(seq, kind="void"))

    def progress(self) -> None:
        """Extend the wait: a part of a snapshot has arrived from the process."""
        self._watch.progress()
        self._starts.stop()

    def interrupt(self) -> None:
        """End the wait soon: its user has interrupted a cell that is being saved."""
        self._watch.interrupt()

    def commit_without(self, reason: str) -> None:
        """Commit the cells that wait without their checkpoint; one that arrives later is written by itself."""
        if self._runs:
            self.state_saved(SavedState(max(self._runs), failure=reason))
            self._lifecycle.notify()

    def _wait_no_longer(self, reason: str) -> None:
        self.commit_without(reason)
        self._starts.begin()  # its process may be stuck

    def _kill_stuck_process(self, reason: str) -> None:
        self.commit_without(reason)
        if self._window.process is not None:
            self._window.process.kill()

    def _kill_process_that_begins_none(self, reason: str) -> None:
        self._reporter.session_event(packed_events.warning, category="session.unresponsive", message=reason)
        self._kill_stuck_process(reason)

    def reopen(self) -> list[CellRun]:
        """Undo the ends of the cells that wait, since their process has ended; return their next runs."""
        seqs = self._journal.reopen(lambda seq: self._reporter.next_attempt(self._runs[seq]))
        runs = [self._runs[seq] for seq in seqs]
        self._runs.clear()
        self._early = None
        self.stop()
        return runs

    def stop(self) -> None:
        """Stop waiting: the process has ended."""
        self._watch.close()
        self._starts.stop()
