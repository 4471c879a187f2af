"""The ordered writes of one session: events as they are added, commits as cells end, in one sequence.

One write is under way at a time, so the stream has the order in which events were added, and a cell's output is never
ahead of the commit of the cell before it. All cells that have ended meanwhile are in the next commit. Output of a
running cell waits a few milliseconds for more. The end of a cell does not wait, unless the next cell runs already: then
it waits for the end of that one, so that many short cells cost few commits, but no longer than GROUP_SECONDS.

A write whose reply is lost is sent again unchanged: the scripts answer DUP for what is stored already. Fenced and
EventGap end the journal; its owner handles them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from skep_shared.broker.script_replies import CellCommit, Claim
from skep_shared.broker.scripts import Scripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.errors import OperationFailed, SkepError
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.backoff import persist
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.residency.begun_cell import BegunCell
from skep_workers.host.residency.checkpoint_head import CheckpointHead
from skep_workers.host.residency.event_queue import EndedCell, EventBatch, EventQueue
from skep_workers.host.residency.separate_checkpoints import Amendment, MakeState, SeparateCheckpoints
from skep_workers.host.residency.write_timing import WriteTiming

GROUP_CELLS: Final = 32  # so many don't wait for more


class JournalListener(Protocol):
    """Is notified of what the journal has written."""

    def journal_progressed(self) -> None:
        """React to a write that is complete."""

    def checkpoint_committed(self, checkpoint: CheckpointId, manifest: StoredManifest, stored_bytes: int) -> None:
        """React to a checkpoint that is in Redis now; stored_bytes: the size of its manifest there."""


class Journal:
    """Writes the events and checkpoints of one owner of a session."""

    def __init__(self, scripts: Scripts, claim: Claim, settings: WorkerSettings, listener: JournalListener) -> None:
        self._scripts = scripts
        self._claim = claim
        self._settings = settings
        self._listener = listener
        self._queue = EventQueue(claim.last_event)
        self._timing = WriteTiming(settings.flush_ms / 1000)
        self._separate = SeparateCheckpoints()
        self._checkpoints = CheckpointHead(claim.head)
        self._begun = BegunCell(scripts, claim, self._timing.notify)
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_running = False
        self._announced: dict[int, int] = dict(claim.said)  # pending cells that have events -> the latest attempt
        self.last_written = claim.last_event  # number of the last event that Redis has
        self.cursor = claim.cursor  # seq of the last cell that has committed
        self.failure: SkepError | None = None

    @property
    def last_event(self) -> int:
        """Number of the last event that was added, written or not."""
        return self._queue.last_event

    @property
    def unwritten_bytes(self) -> int:
        """Size of what was added and is not written yet."""
        return self._queue.unwritten_bytes

    @property
    def head(self) -> CheckpointId:
        """The checkpoint that the session's state starts from; it may still be on its way to Redis."""
        return self._checkpoints.checkpoint

    @property
    def unsaved(self) -> str:
        """Why the state after the last cell is in the live process alone; "" if it is not."""
        return self._checkpoints.unsaved

    def add(self, event: bytes) -> int:
        """Add the next event; return its number."""
        size_bytes = self._queue.add(event)
        self._idle.clear()
        if size_bytes >= self._settings.flush_bytes:
            self.flush()
        else:
            self._timing.flush_soon()
        return self._queue.last_event

    def add_first(self, seq: int, event: bytes) -> None:
        """Add the first event of a cell, which has not ended."""
        self.add(event)
        self._queue.record_first(seq)

    def record_attempt(self, seq: int, attempt: int) -> None:
        """Record which attempt of a cell its events announce, for later owners."""
        self._announced[seq] = attempt

    def begin(self, seq: int) -> None:
        """Record that the process begins a cell now, in case its worker dies before an event shows it."""
        self._begun.begin(seq, is_carried=self._queue.has_ended_cells, can_send=self._is_running)

    async def record_begin(self, seq: int) -> None:
        """Record that the process is about to begin a cell; return when Redis has that. Raises Fenced."""
        self._begun.record(seq)
        await self._persist(lambda: self._scripts.begin(self._claim, seq))

    def end_cell(self, cell: EndedCell) -> None:
        """Make the events added since the last end of a cell this cell's; they commit with it.

        A cell that needs saving commits only after `saved` was called for it or a later cell. One that is followed by a
        running cell may wait for that one's end.
        """
        self._queue.end_cell(cell)
        self._idle.clear()
        if self._queue.complete_cells or not cell.needs_saving:
            self._commit_complete(0)

    def saved(self, state: SavedState, events: Sequence[bytes] = ()) -> None:
        """Commit the cells up to this checkpoint, or up to the cell after which none could be made.

        events: what is to be reported about it. They are written with the end of the last of these cells, before it.
        """
        batches = self._queue.incomplete_until(state.seq)
        last = batches[-1] if batches else None
        if last is None or last.cell is None:
            for event in events:
                self.add(event)
            return
        for event in events:
            self._queue.insert(last, event)
        if state.manifest is not None:
            last.manifest, last.blobs = state.manifest, state.blobs
            self._checkpoints.move_to(CheckpointId(last.cell.seq))
        for batch in batches if state.failure else ():
            batch.failure = state.failure
        self._checkpoints.record_saving(state.failure)
        self._commit_complete(state.seq)

    def saved_unchanged(self) -> None:
        """Record that the latest checkpoint has the state after the last cell."""
        self._checkpoints.record_saving("")

    def save_separately(self, state: SavedState) -> None:
        """Write a checkpoint by itself, once the cells up to it have committed."""
        self._checkpoints.record_saving("")
        self._separate.add(state)
        if state.manifest:
            self._checkpoints.move_to(state.checkpoint)
        self._idle.clear()
        self._timing.notify()

    async def amend(self, make_state: MakeState) -> None:
        """Write a checkpoint made from the latest one. It is made when no commit is ready to be written.

        Raises what `make_state` raises, and Fenced or EventGap if the journal ends instead.
        """
        if self.failure is not None:
            raise self.failure
        written = self._separate.add_amendment(make_state)
        self._idle.clear()
        self._timing.notify()
        await written

    def roll_back(self, checkpoint: CheckpointId) -> None:
        """Continue from this earlier checkpoint, which Redis has as the session's state."""
        self._checkpoints.move_to(checkpoint)
        self._checkpoints.discard_unsaved()

    def discard_unsaved(self) -> None:
        """Record that the state which no checkpoint has is lost: the session continues from the latest checkpoint."""
        self._checkpoints.discard_unsaved()

    def reopen(self, make_event: Callable[[int], bytes]) -> list[int]:
        """Undo the ends of cells whose checkpoint will never arrive; return their seqs.

        Events of theirs remain. `make_event` makes, for a seq, the event that replaces the cell's last one.
        """
        seqs = self._queue.reopen(make_event)
        if seqs:
            self.flush()
        return seqs

    def flush(self) -> None:
        """Write what was added, without waiting for more."""
        self._timing.flush()

    async def written(self) -> None:
        """Wait until nothing is left to write. Raises Fenced or EventGap if the journal has ended instead."""
        self.flush()
        await self._idle.wait()
        if self.failure is not None:
            raise self.failure

    async def run(self) -> None:
        """Write until cancelled. Raises Fenced or EventGap."""
        self._is_running = True
        try:
            while True:
                await self._timing.work.wait()
                self._timing.work.clear()
                while (write := self._next_write()) is not None:
                    await write
                if not self._queue.has_ended_cells:
                    self._timing.record_flush()
                    if not self._queue.has_open_events and self._separate.is_empty:
                        self._idle.set()
        except SkepError as exc:
            self.failure = exc
            self._idle.set()
            self._separate.fail(exc)
            raise
        finally:
            self._is_running = False
            self._timing.stop()

    def _next_write(self) -> Coroutine[Any, Any, None] | None:
        """Return the next write, None if nothing is due."""
        queue, timing = self._queue, self._timing
        if not self._separate.is_empty and (write := self._next_separate_write()) is not None:
            return write
        if timing.is_commit_due and queue.complete_cells:
            return self._commit()
        if queue.has_ended_cells:
            return None
        if timing.is_flush_due and queue.has_open_events:
            return self._emit()
        return self._record_begun() if self._begun.is_unrecorded else None

    def _next_separate_write(self) -> Coroutine[Any, Any, None] | None:
        separate = self._separate
        if separate.is_due(self.cursor):
            return self._save(separate.pop())
        # The ends of cells that are complete name an earlier checkpoint: they are written before an amended one.
        if separate.amendment is not None and not self._queue.complete_cells:
            return self._amend(separate.amendment)
        return None

    async def _record_begun(self) -> None:
        """Record the running cell's start; otherwise its events or the next commit carry that."""
        seq = self._begun.record_latest()
        await self._persist(lambda: self._scripts.begin(self._claim, seq))

    def _commit_complete(self, saved_seq: int) -> None:
        """Complete, in order, the cells that are saved or need no saving, and commit them now or soon."""
        queue = self._queue
        queue.complete_until(saved_seq, self._checkpoint_of)
        if queue.may_wait_for_next(GROUP_CELLS):
            self._timing.commit_soon()
        elif queue.complete_cells:
            self._timing.commit()

    def _checkpoint_of(self, batch: EventBatch) -> tuple[str | None, str]:
        needs_saving = batch.cell is not None and batch.cell.needs_saving
        return self._checkpoints.of_commit(batch.failure, needs_saving=needs_saving)

    async def _commit(self) -> None:
        batches = self._queue.pop_complete()
        self._timing.record_commit(has_more=self._queue.complete_cells > 0)
        ended = [(batch, cell) for batch in batches if (cell := batch.cell) is not None]
        cells = [self._cell_commit(cell, batch) for batch, cell in ended]
        begun = self._begun.record_latest()
        await self._persist(
            lambda: self._scripts.commit(
                self._claim,
                cursor=self.cursor,
                first_event=self.last_written + 1,
                cells=cells,
                reply_ttl_ms=int(self._settings.reply_ttl_seconds * 1000),
                begun=begun if begun > ended[-1][1].seq else 0,
            )
        )
        self.cursor += len(cells)
        for (batch, cell), commit in zip(ended, cells, strict=True):
            if batch.manifest is not None:
                self._listener.checkpoint_committed(CheckpointId(cell.seq), batch.manifest, len(commit.manifest))
        self._record_written(sum(len(cell.events) for cell in cells), sum(batch.size_bytes for batch in batches))

    def _cell_commit(self, cell: EndedCell, batch: EventBatch) -> CellCommit:
        return CellCommit(
            cell.cell_id,
            cell.first_event,
            tuple(batch.events),
            self._checkpoints.mark(batch.failure) if batch.manifest is None else batch.manifest.pack(),
            batch.blobs,
            batch.written_bytes,
        )

    async def _save(self, state: SavedState) -> None:
        save, packed = self._scripts.save, b"" if state.manifest is None else state.manifest.pack()
        await self._persist(lambda: save(self._claim, state.checkpoint, packed, state.blobs, kind=state.kind))
        if state.manifest is not None:
            self._listener.checkpoint_committed(state.checkpoint, state.manifest, len(packed))

    async def _amend(self, amendment: Amendment) -> None:
        try:
            state = await amendment.make_state()
        except OperationFailed as exc:
            amendment.fail(exc)
            self._separate.remove_amendment()
            return
        is_ahead = self.head.seq > self.cursor  # the checkpoint of a cell is stored, and about to be committed
        await self._save(state)
        if not is_ahead:
            self._checkpoints.move_to(state.checkpoint)
        amendment.complete()
        self._separate.remove_amendment()

    async def _emit(self) -> None:
        events, size_bytes = self._queue.pop_open()
        self._announced = {seq: attempt for seq, attempt in self._announced.items() if seq > self.cursor}
        said = " ".join(f"{seq}:{attempt}" for seq, attempt in self._announced.items())
        await self._persist(lambda: self._scripts.emit(self._claim, self.last_written + 1, events, said=said))
        self._record_written(len(events), size_bytes)

    def _record_written(self, events: int, size_bytes: int) -> None:
        self.last_written += events
        self._queue.record_written(size_bytes)
        self._listener.journal_progressed()

    async def _persist(self, write: Callable[[], Awaitable[int]]) -> None:
        await persist(write, "journal", session_id=self._claim.session_id)
