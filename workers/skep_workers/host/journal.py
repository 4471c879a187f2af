"""The ordered writes of one session: events as they come, commits as cells end, in one sequence.

One write is under way at a time, so the stream has the order in which events were added, and a cell's output is never
ahead of the commit of the cell before it. Everything that has ended meanwhile goes into the next commit together.
Output of a running cell waits a few milliseconds for more. The end of a cell waits for nothing, unless the next one
runs already: then for that one's end, so that many short cells cost few commits, but no longer than GROUP_SECONDS.

A write whose reply is lost is sent again as it was: the scripts answer DUP for what is there already. Fenced and
EventGap end the journal, and are its owner's to handle.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import OperationFailed, SkepError
from skep_shared.script_replies import HOLDS_AGAIN, NONE_MADE, CellCommit, Claim
from skep_shared.scripts import Scripts
from skep_shared.settings import WorkerSettings
from skep_workers.host.backoff import persist
from skep_workers.host.checkpoints import SavedState

log = structlog.get_logger()

GROUP_SECONDS: Final = 0.002
GROUP_CELLS: Final = 32  # so many don't wait for more
MAX_COMMIT_CELLS: Final = 256
MAX_COMMIT_BYTES: Final = 4 * 1024 * 1024
MAX_EMIT_EVENTS: Final = 1000
MAX_EMIT_BYTES: Final = 1024 * 1024  # larger commands would hold up the server, and each is in memory twice


@dataclass(slots=True)
class _Chunk:
    """Events in order; with a cell id they end with that cell's last one."""

    events: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    cell_id: str = ""
    cell_first_event: int = 0
    seq: int = 0
    make_last: Callable[[str | None, str], bytes] | None = None  # until its checkpoint is there
    needs_saving: bool = True
    is_followed: bool = False  # the next cell runs already
    manifest: bytes = b""
    failure: str = ""  # why there is no checkpoint with it
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    written_bytes: int | None = None  # of the cell's events, before these


class Journal:
    """Writes what one owner has to say about a session."""

    def __init__(
        self,
        scripts: Scripts,
        claim: Claim,
        settings: WorkerSettings,
        on_progress: Callable[[], None],
        on_checkpoint: Callable[[CheckpointId, bytes], None],
    ) -> None:
        """`on_progress` is called when something was written, `on_checkpoint` with what was committed."""
        self._on_checkpoint = on_checkpoint
        self._on_progress = on_progress
        self._scripts = scripts
        self._claim = claim
        self._settings = settings
        self._ended: deque[_Chunk] = deque()
        self._ready = 0  # how many of these, the first ones, are complete
        self._apart: deque[SavedState] = deque()
        self._amendments: deque[tuple[Callable[[], Awaitable[SavedState]], asyncio.Future[None]]] = deque()
        self._open = _Chunk()
        self._written = claim.last_event
        self._added = claim.last_event
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._flush_now = False
        self._commit_now = False
        self._group_timer: asyncio.TimerHandle | None = None
        self._emitted_bytes = 0  # since the last end of a cell
        self._emitted_from = claim.last_event + 1  # the number of the first event that may be among these
        self._begun = 0  # the cell that the process has begun last, of those that Redis has to know of
        self._begun_noted = 0
        self._is_running = False
        self.cursor = claim.cursor
        self.head = claim.head
        self.unwritten_bytes = 0
        self.unsaved = ""  # why the state after the last cell is in the live process alone, if it is
        self._is_marked = False  # Redis has on record that the last checkpoint does not hold
        self.said: dict[int, int] = dict(claim.said)  # pending cells that events tell of -> the latest attempt
        self.failure: SkepError | None = None

    @property
    def last_event(self) -> int:
        """Number of the last event that was added, written or not."""
        return self._added

    @property
    def last_written(self) -> int:
        """Number of the last event that Redis has."""
        return self._written

    def add(self, event: bytes) -> int:
        """Take the next event; gives its number."""
        chunk = self._open
        chunk.events.append(event)
        chunk.size_bytes += len(event)
        self.unwritten_bytes += len(event)
        self._added += 1
        self._idle.clear()
        if chunk.size_bytes >= self._settings.flush_bytes:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settings.flush_ms / 1000, self.flush)
        return self._added

    def begin(self, seq: int) -> None:
        """Note that the process begins a cell now, should its worker die before an event tells of it."""
        self._begun = seq
        if self._ended or seq <= self._begun_noted:
            return  # the next commit tells of it
        note = self._scripts.post_begin(self._claim, seq) if self._is_running else None
        if note is None:
            self._work.set()
        else:
            self._begun_noted = seq
            note.add_done_callback(self._on_begin_noted)

    def _on_begin_noted(self, note: asyncio.Future[Any]) -> None:
        if note.cancelled() or note.exception() is not None or note.result()[0] != b"OK":
            self._begun_noted = 0  # once more, and awaited
            self._work.set()

    async def note_begin(self, seq: int) -> None:
        """Note that the process is about to begin a cell; returns when Redis has that. Raises Fenced."""
        self._begun = self._begun_noted = seq
        await self._persist(lambda: self._scripts.begin(self._claim, seq))

    def end_cell(
        self,
        cell_id: str,
        seq: int,
        first_event: int,
        make_last: Callable[[str | None, str], bytes],
        *,
        is_saved: bool,
        is_followed: bool = False,
    ) -> None:
        """Make the events added since the last cell's end a cell's; they commit with it.

        `make_last` gives its last event, from the id of the checkpoint after it and the reason why there is none ('' if
        there is one, or none is wanted). Unless the cell `is_saved` already (nothing ran, or nothing is kept), it
        commits only after `saved` was called for it or a later one. One that `is_followed` by a cell that runs already
        may wait for that one's end.
        """
        chunk, self._open = self._open, _Chunk()
        chunk.cell_id, chunk.cell_first_event, chunk.seq, chunk.make_last = cell_id, first_event, seq, make_last
        chunk.needs_saving, chunk.is_followed = not is_saved, is_followed
        chunk.written_bytes = self._emitted_bytes if first_event >= self._emitted_from else None
        self._added += 1
        self._emitted_bytes, self._emitted_from = 0, self._added + 1
        self._ended.append(chunk)
        self._idle.clear()
        self._complete_ready(0)

    def saved(self, state: SavedState) -> None:
        """Let the cells up to this checkpoint commit, or up to where none could be made."""
        ready = [chunk for chunk in self._ended if chunk.seq <= state.seq and chunk.make_last is not None]
        if not ready:
            return
        if state.manifest:
            ready[-1].manifest, ready[-1].blobs = state.manifest, state.blobs
            self.head = CheckpointId(ready[-1].seq)
        for chunk in ready if state.failure else ():
            chunk.failure = state.failure
        self.unsaved = state.failure
        self._complete_ready(state.seq)

    def save_apart(self, state: SavedState) -> None:
        """Write a checkpoint by itself, once the cells up to it have committed."""
        self.unsaved = ""
        self._apart.append(state)
        if state.manifest:
            self.head = state.checkpoint
        self._idle.clear()
        self._work.set()

    async def amend(self, make_state: Callable[[], Awaitable[SavedState]]) -> None:
        """Write a checkpoint that is made of the latest one, whichever that is when no commit is ready to be written.

        Raises what `make_state` raises, and Fenced or EventGap if the journal ends instead.
        """
        if self.failure is not None:
            raise self.failure
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._amendments.append((make_state, written))
        self._idle.clear()
        self._work.set()
        await written

    def reopen(self, make_event: Callable[[int], bytes]) -> list[int]:
        """Take back the ends of cells whose checkpoint will never come; gives their seqs.

        What they said stays said; `make_event` gives, for a seq, the event that stands where its end would have been.
        """
        unsaved = [chunk for chunk in self._ended if chunk.make_last is not None]
        if not unsaved:
            return []
        again = _Chunk()
        for chunk in unsaved:
            self._ended.remove(chunk)
            event = make_event(chunk.seq)
            self.unwritten_bytes += len(event)
            again.events += [*chunk.events, event]
        again.events += self._open.events
        again.size_bytes = sum(map(len, again.events))
        self._open = again
        self._emitted_bytes, self._emitted_from = 0, self._added + 1  # what was counted is spread over their ends
        self.flush()
        return [chunk.seq for chunk in unsaved]

    def _complete_ready(self, saved_seq: int) -> None:
        """Complete, in order, what is saved or needs no saving, and have it committed, now or soon."""
        while self._ready < len(self._ended):
            chunk = self._ended[self._ready]
            if chunk.needs_saving and chunk.seq > saved_seq:
                break
            self._complete(chunk)
            self._ready += 1
        if 0 < self._ready == len(self._ended) < GROUP_CELLS and self._ended[-1].is_followed:
            if self._group_timer is None:
                self._group_timer = asyncio.get_running_loop().call_later(GROUP_SECONDS, self._commit_group)
        elif self._ready:
            self._commit_group()

    def _commit_group(self) -> None:
        if self._group_timer is not None:
            self._group_timer.cancel()
            self._group_timer = None
        self._commit_now = True
        self._work.set()

    def _complete(self, chunk: _Chunk) -> None:
        assert chunk.make_last is not None  # noqa: S101 - it is not among the ready ones
        failure = chunk.failure or (self.unsaved if not chunk.needs_saving else "")
        event = chunk.make_last(str(self.head) if self.head and not failure else None, failure)
        chunk.make_last = None
        chunk.events.append(event)
        size = len(event) + sum(len(data) for _, data in chunk.blobs)
        chunk.size_bytes += size
        self.unwritten_bytes += size

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
                await self._work.wait()
                self._work.clear()
                while (
                    self._can_commit()
                    or self._can_save()
                    or self._amendments
                    or self._must_note_begin()
                    or (self._flush_now and not self._ended and self._open.events)
                ):
                    await self._write_some()
                if not self._ended:
                    self._flush_now = False
                    if not self._open.events and not self._apart and not self._amendments:
                        self._idle.set()
        except SkepError as exc:
            self.failure = exc
            self._idle.set()
            for _, written in self._amendments:
                if not written.done():
                    written.set_exception(exc)
                    written.exception()  # seen: nobody may be waiting
            raise
        finally:
            self._is_running = False
            for timer in (self._timer, self._group_timer):
                if timer is not None:
                    timer.cancel()

    def flush(self) -> None:
        """Write what was added, without waiting for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush_now = True
        self._commit_group()

    def _can_commit(self) -> bool:
        return self._commit_now and self._ready > 0

    def _can_save(self) -> bool:
        return bool(self._apart) and self._apart[0].seq <= self.cursor

    def _must_note_begin(self) -> bool:
        """Tell whether the running cell's beginning goes with no other write: events tell of it, or the next commit."""
        if self._ended or self._begun <= self._begun_noted:
            return False
        return not (self._flush_now and self._open.events)

    async def _write_some(self) -> None:
        if self._can_save():
            await self._save(self._apart.popleft())
        elif self._amendments and not self._ready:  # what is ready was made before: it must not come after
            await self._amend(*self._amendments[0])
            self._amendments.popleft()
        elif self._can_commit():
            await self._commit()
        elif self._must_note_begin():
            self._begun_noted = self._begun
            await self._persist(lambda: self._scripts.begin(self._claim, self._begun_noted))
        else:
            await self._emit()

    async def _commit(self) -> None:
        chunks: list[_Chunk] = []
        size = 0
        while self._ready and len(chunks) < MAX_COMMIT_CELLS and (not chunks or size < MAX_COMMIT_BYTES):
            chunks.append(self._ended.popleft())
            self._ready -= 1
            size += chunks[-1].size_bytes
        self._commit_now = self._ready > 0
        cells = [
            CellCommit(
                chunk.cell_id,
                chunk.cell_first_event,
                tuple(chunk.events),
                chunk.manifest or self._mark(chunk),
                chunk.blobs,
                chunk.written_bytes,
            )
            for chunk in chunks
        ]
        count = sum(len(cell.events) for cell in cells)
        begun = self._begun if self._begun > chunks[-1].seq else 0
        self._begun_noted = max(self._begun_noted, self._begun)
        await self._persist(
            lambda: self._scripts.commit(
                self._claim,
                cursor=self.cursor,
                first_event=self._written + 1,
                cells=cells,
                reply_ttl_ms=int(self._settings.reply_ttl_seconds * 1000),
                begun=begun,
            )
        )
        self.cursor += len(cells)
        for chunk in chunks:
            if chunk.manifest:
                self._on_checkpoint(CheckpointId(chunk.seq), chunk.manifest)
        self._wrote(count, size)

    def _mark(self, chunk: _Chunk) -> bytes:
        """Give what is on record, in the place of a manifest, of whether the checkpoint before still holds."""
        if chunk.failure:
            self._is_marked = True
            return NONE_MADE
        if self._is_marked and not self.unsaved:
            self._is_marked = False
            return HOLDS_AGAIN
        return b""

    def go_on_without(self) -> None:
        """Note that what no checkpoint had is lost: the session goes on from the last one."""
        self.unsaved, self._is_marked = "", True

    async def _save(self, state: SavedState) -> None:
        save = self._scripts.save
        await self._persist(lambda: save(self._claim, state.checkpoint, state.manifest, state.blobs, kind=state.kind))
        if state.manifest:
            self._on_checkpoint(state.checkpoint, state.manifest)

    async def _amend(self, make_state: Callable[[], Awaitable[SavedState]], written: asyncio.Future[None]) -> None:
        try:
            state = await make_state()
        except OperationFailed as exc:
            if not written.done():
                written.set_exception(exc)
            return
        is_ahead = self.head.seq > self.cursor  # a cell's checkpoint is stored, and about to be committed
        await self._save(state)
        if not is_ahead:
            self.head = state.checkpoint
        if not written.done():
            written.set_result(None)

    async def _emit(self) -> None:
        chunk = self._open
        events: list[bytes] = []
        size = 0
        for event in chunk.events[:MAX_EMIT_EVENTS]:
            if events and size + len(event) > MAX_EMIT_BYTES:
                break
            events.append(event)
            size += len(event)
        # Taken out before the wait: the cell may end meanwhile, and its commit must carry only what is left.
        del chunk.events[: len(events)]
        chunk.size_bytes -= size
        self._emitted_bytes += size
        self.said = {seq: attempt for seq, attempt in self.said.items() if seq > self.cursor}
        said = " ".join(f"{seq}:{attempt}" for seq, attempt in self.said.items())
        await self._persist(lambda: self._scripts.emit(self._claim, self._written + 1, events, said=said))
        self._wrote(len(events), size)

    def _wrote(self, events: int, size_bytes: int) -> None:
        self._written += events
        self.unwritten_bytes -= size_bytes
        self._on_progress()

    async def _persist(self, write: Callable[[], Awaitable[int]]) -> None:
        await persist(write, "journal", session_id=self._claim.session_id)
