"""Events of one session that are added and not written yet, in order; those of each cell that has ended together."""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from skep_shared.chunks.stored_manifest import StoredManifest

MAX_COMMIT_CELLS: Final = 256
MAX_COMMIT_BYTES: Final = 4 * 1024 * 1024
MAX_EMIT_EVENTS: Final = 1000
MAX_EMIT_BYTES: Final = 1024 * 1024  # larger commands would hold up the server, and each is in memory twice

# Makes a cell's last event from the id of its checkpoint and the reason why there is none ("" if there is one, or none
# is wanted).
MakeLast = Callable[[str | None, str], bytes]


@dataclass(slots=True, eq=False)
class EndedCell:
    """The facts about a cell that has ended, as far as the journal needs them.

    make_last: None once the last event is made. needs_saving: it commits only with its checkpoint. is_followed: the
    next cell runs already. first_event: the number of its first event, set by the queue.
    """

    cell_id: str
    seq: int
    make_last: MakeLast | None
    needs_saving: bool = True
    is_followed: bool = False
    first_event: int = 0


@dataclass(slots=True, eq=False)
class EventBatch:
    """Events in order. With a cell they end with the last event of that cell."""

    events: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    cell: EndedCell | None = None
    manifest: StoredManifest | None = None
    failure: str = ""  # why the cell has no checkpoint
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    written_bytes: int | None = None  # size of the cell's events that are written already; None if unknown


class EventQueue:
    """The unwritten events: a batch for each cell that has ended, then the open batch."""

    def __init__(self, last_event: int) -> None:
        self._ended: deque[EventBatch] = deque()
        self.complete_cells = 0  # how many of these, the first ones, have their last event and can be committed
        self._open = EventBatch()
        self._emitted_bytes = 0  # since the last end of a cell
        self._emitted_from = last_event + 1  # the number of the first event that may be among these
        self._first_events: dict[int, int] = {}  # seq of a cell that has not ended -> number of its first event
        self.last_event = last_event
        self.unwritten_bytes = 0

    @property
    def has_ended_cells(self) -> bool:
        """Return whether a cell that has ended is not committed yet."""
        return bool(self._ended)

    @property
    def has_open_events(self) -> bool:
        """Return whether events were added since the last end of a cell."""
        return bool(self._open.events)

    def add(self, event: bytes) -> int:
        """Add the next event; return the size of the open batch."""
        batch, size = self._open, len(event)
        batch.events.append(event)
        batch.size_bytes += size
        self.unwritten_bytes += size
        self.last_event += 1
        return batch.size_bytes

    def record_first(self, seq: int) -> None:
        """Record that the event that was just added is the first one of this cell."""
        self._first_events[seq] = self.last_event

    def end_cell(self, cell: EndedCell) -> None:
        """Make the open batch this cell's; the number of its last event is reserved."""
        batch, self._open = self._open, EventBatch()
        batch.cell = cell
        cell.first_event = self._first_events.pop(cell.seq)
        batch.written_bytes = self._emitted_bytes if cell.first_event >= self._emitted_from else None
        self.last_event += 1
        self._emitted_bytes, self._emitted_from = 0, self.last_event + 1
        self._ended.append(batch)

    def insert(self, batch: EventBatch, event: bytes) -> None:
        """Add an event before the end of a cell whose last event is not made yet; later events are renumbered.

        None of these is written: events of a running cell are written after the ends of the cells before it.
        """
        later = list(itertools.islice(self._ended, self._ended.index(batch) + 1, None))
        end = self.last_event - len(self._open.events) - sum(len(each.events) + 1 for each in later)
        batch.events.append(event)
        batch.size_bytes += len(event)
        self.unwritten_bytes += len(event)
        self.last_event += 1
        self._emitted_from += 1
        for cell in (each.cell for each in later):
            if cell is not None and cell.first_event > end:
                cell.first_event += 1
        for seq, number in self._first_events.items():
            if number > end:
                self._first_events[seq] = number + 1

    def incomplete_until(self, seq: int) -> list[EventBatch]:
        """Return the batches of cells up to `seq` that don't have their last event yet."""
        return [batch for batch in self._ended if batch.cell is not None and _waits(batch.cell, seq)]

    def complete_until(self, seq: int, checkpoint: Callable[[EventBatch], tuple[str | None, str]]) -> None:
        """Make the last event of each cell, in order, that is saved (up to `seq`) or needs no saving.

        `checkpoint` returns the arguments for its `make_last`.
        """
        ended = self._ended
        while self.complete_cells < len(ended):
            batch = ended[self.complete_cells]
            cell = batch.cell
            if cell is None or cell.make_last is None or (cell.needs_saving and cell.seq > seq):
                break
            event = cell.make_last(*checkpoint(batch))
            cell.make_last = None
            batch.events.append(event)
            size = len(event)
            if batch.blobs:
                size += sum(len(data) for _, data in batch.blobs)
            batch.size_bytes += size
            self.unwritten_bytes += size
            self.complete_cells += 1

    def may_wait_for_next(self, most_cells: int) -> bool:
        """Return whether every cell that has ended is complete, they are few, and the next cell runs already."""
        if not 0 < self.complete_cells == len(self._ended) < most_cells:
            return False
        last = self._ended[-1].cell
        return last is not None and last.is_followed

    def reopen(self, make_event: Callable[[int], bytes]) -> list[int]:
        """Undo the ends of cells that wait for a checkpoint; return their seqs.

        Their events remain. `make_event` makes, for a seq, the event that replaces the cell's last one.
        """
        seqs: list[int] = []
        merged = EventBatch()
        for batch in [batch for batch in self._ended if batch.cell is not None and batch.cell.make_last is not None]:
            assert batch.cell is not None  # noqa: S101 - chosen by it
            self._ended.remove(batch)
            event = make_event(batch.cell.seq)
            self.unwritten_bytes += len(event)
            merged.events += [*batch.events, event]
            self._first_events[batch.cell.seq] = batch.cell.first_event
            seqs.append(batch.cell.seq)
        if seqs:
            merged.events += self._open.events
            merged.size_bytes = sum(map(len, merged.events))
            self._open = merged
            self._emitted_bytes, self._emitted_from = 0, self.last_event + 1  # these were counted for the undone ends
        return seqs

    def pop_complete(self) -> list[EventBatch]:
        """Remove and return the batches of the next commit."""
        batches: list[EventBatch] = []
        size = 0
        while self.complete_cells and len(batches) < MAX_COMMIT_CELLS and (not batches or size < MAX_COMMIT_BYTES):
            batches.append(self._ended.popleft())
            self.complete_cells -= 1
            size += batches[-1].size_bytes
        return batches

    def pop_open(self) -> tuple[list[bytes], int]:
        """Remove and return the next events to be written before their cell ends, and their size."""
        batch = self._open
        events: list[bytes] = []
        size = 0
        for event in batch.events[:MAX_EMIT_EVENTS]:
            if events and size + len(event) > MAX_EMIT_BYTES:
                break
            events.append(event)
            size += len(event)
        # Removed before they are written: the cell may end meanwhile, and its commit must have only the other events.
        del batch.events[: len(events)]
        batch.size_bytes -= size
        self._emitted_bytes += size
        return events, size

    def record_written(self, size_bytes: int) -> None:
        """Record that events and blobs of this size are in Redis."""
        self.unwritten_bytes -= size_bytes


def _waits(cell: EndedCell, seq: int) -> bool:
    return cell.seq <= seq and cell.make_last is not None
