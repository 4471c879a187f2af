"""Snapshots on their way from the session process to Redis or the store, before the commit that names them.

Chunks are stored outside of scripts, in pieces small enough not to stall the server, and always before the commit whose
manifest names them. They are addressed by content, so writing one twice changes nothing. The few chunks of a small
snapshot are stored by the commit itself. The host never looks into a chunk.
"""

import asyncio
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from skep_shared.broker.owner_scripts import SaveKind
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import IN_REDIS, Chunk, StoredManifest, UnstoredManifest
from skep_shared.errors import MalformedFrame, RedisFull, StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.protocol.frames import Blob, Saved
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory
from skep_workers.host.checkpoint.chunk_storage import ChunkStorage

log = structlog.get_logger()

BATCH_BYTES: Final = 4 * 1024 * 1024
PENDING_BYTES: Final = 32 * 1024 * 1024
MAX_FAILURE_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class SavedState:
    """A snapshot whose chunks are stored: what the commit has to write. Without a manifest, nothing has changed.

    blobs: chunks that the commit stores; one with empty bytes has been stored before, and the commit only checks that
    Redis still has it. failure: why no checkpoint could be made or stored. kind: "void" for a cell that had no effect
    on the state, without a snapshot; "last" for the state that a process leaves behind, as checkpoint `seq`-`part`.
    """

    seq: int
    manifest: StoredManifest | None = None
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()
    kind: SaveKind = ""
    part: int = 0
    failure: str = ""

    @property
    def checkpoint(self) -> CheckpointId:
        """The id of the checkpoint that the commit makes."""
        return CheckpointId(self.seq, self.part)


class CheckpointWriter:
    """Stores the chunks of one session, in order, and reports each snapshot whose chunks are all stored."""

    def __init__(
        self,
        storage: ChunkStorage,
        inventory: ChunkInventory,
        on_saved: Callable[[SavedState], None],
        on_failed: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        """`on_failed` is called when a snapshot can't be stored: its process has to send all of it again.

        `on_room` is called whenever there is room for more chunks: a process that waits for room has more of the same
        snapshot to send.
        """
        self._storage = storage
        self._inventory = inventory
        self._on_saved = on_saved
        self._on_failed = on_failed
        self._on_room = on_room
        self._queue: asyncio.Queue[Blob | _Snapshot] = asyncio.Queue()  # bounded by bytes, through `is_full`
        self._idle = asyncio.Event()
        self._idle.set()
        self._brought: list[bytes] = []  # names of the chunks that `run` has taken up since the last snapshot
        self._is_discarding = False
        self._generation = 0
        self._failure = ""  # why the snapshot that is arriving can't be stored
        self._reason = ""  # the latest such reason
        self.pending_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the process should pause sending."""
        return self.pending_bytes > PENDING_BYTES

    def receive_frame(self, frame: Blob | Saved) -> None:
        """Queue a chunk to store, or the snapshot that names the chunks before it. Raises MalformedFrame."""
        if self._is_discarding:
            return
        queued: Blob | _Snapshot
        if isinstance(frame, Saved):
            queued = _Snapshot(frame, _unpack_manifest(frame))
            if self._idle.is_set() and not self._inventory.is_removing(frame.blobs):
                self._on_saved(self._complete(queued, ()))
                return
            for name in frame.blobs:
                self._inventory.expect(name)
        else:
            queued = frame
            self.pending_bytes += len(frame.data)
            self._inventory.expect(frame.name)
        self._idle.clear()
        self._queue.put_nowait(queued)

    def discard_unstored(self) -> None:
        """Forget all that is not stored yet, and ignore further frames until `restart`."""
        self._is_discarding = True
        self._generation += 1
        self.pending_bytes = 0
        while not self._queue.empty():
            self._queue.get_nowait()
        self._brought.clear()
        self._failure = ""
        self._idle.set()  # `run` may be waiting for a frame that has just been removed from the queue
        self._inventory.forget_arriving()

    def restart(self) -> None:
        """Accept frames again: they come from another process now."""
        self._is_discarding = False

    async def wait_until_stored(self) -> None:
        """Wait until everything that was received is stored and reported."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store chunks until cancelled."""
        while True:
            if self._queue.empty():
                self._idle.set()
            batch: dict[bytes, bytes] = {}
            size = 0
            frame = await self._queue.get()
            while isinstance(frame, Blob):
                batch[frame.name] = bytes(frame.data)
                self._brought.append(frame.name)
                size += len(frame.data)
                if size >= BATCH_BYTES or self._queue.empty():
                    break
                frame = self._queue.get_nowait()
            generation = self._generation
            try:
                if not self._failure:
                    await self._store(batch)
            except (StoreUnavailable, RedisFull) as exc:
                log.error("checkpoint.failed", error=describe_error(exc))
                if generation == self._generation:
                    self._failure = str(exc)  # its other chunks are not tried
            if isinstance(frame, _Snapshot):
                await self._inventory.wait_for_removal(frame.saved.blobs)
            if generation != self._generation:  # dropped meanwhile: the process that sent it has ended
                continue
            self.pending_bytes -= size
            if not self.is_full:
                self._on_room()
            if isinstance(frame, _Snapshot):
                brought = [*self._brought, *frame.saved.blobs]
                self._brought.clear()
                self._on_saved(self._complete(frame, brought))

    def _complete(self, snapshot: "_Snapshot", brought: Sequence[bytes]) -> SavedState:
        """Return what the commit has to write for a snapshot, or why it can't be stored."""
        saved, manifest = snapshot
        if manifest is None:
            self._failure = ""
            return SavedState(saved.seq, failure=saved.failure[:MAX_FAILURE_CHARS])
        failure, self._failure = self._failure, ""
        if failure:
            self._reason = failure
        else:
            if all(name in saved.blobs or self._inventory.is_known(name) for name in manifest.names):
                return self._state_of(saved, manifest, brought)
            failure = f"a part of it was sent with an earlier one, which could not be stored: {self._reason}"
        self._inventory.record_failure(brought)
        self._on_failed()
        return SavedState(saved.seq, failure=failure[:MAX_FAILURE_CHARS])

    async def _store(self, batch: dict[bytes, bytes]) -> None:
        await self._inventory.wait_for_removal(batch)
        new = [(name, data) for name, data in batch.items() if not self._inventory.is_stored(name)]
        if new:
            for chunk in await self._storage.store_chunks(new):
                self._inventory.record_stored(chunk)

    def _was_stored(self, name: bytes, in_commit: Container[bytes], named: Container[bytes]) -> bool:
        """Return whether a chunk that a snapshot brought was stored in Redis before its commit."""
        chunk = self._inventory.find(name)
        return name in named and name not in in_commit and (chunk.home, chunk.epoch) == (0, IN_REDIS)

    def _state_of(self, saved: Saved, manifest: UnstoredManifest, brought: Sequence[bytes]) -> SavedState:
        new = {name: data for name, data in saved.blobs.items() if not self._inventory.is_stored(name)}
        blobs = tuple(zip(new, self._storage.in_stored_form(new), strict=True))
        for name, data in blobs:
            self._inventory.record_in_commit(Chunk(name, len(new[name]), len(data)))
        # Redis may go back to an earlier state between the two writes. The commit must not name chunks that were lost
        # by it, so it checks these.
        named = frozenset(manifest.names)
        blobs += tuple((name, b"") for name in dict.fromkeys(brought) if self._was_stored(name, new, named))
        chunks = [self._inventory.find(name) for name in manifest.names]
        self._inventory.add_snapshot(saved.seq, named, brought)
        return SavedState(saved.seq, manifest.with_chunks(chunks), blobs, tuple(sorted(manifest.lost.items())))


class _Snapshot(NamedTuple):
    """A snapshot and its manifest, None if it has none."""

    saved: Saved
    manifest: UnstoredManifest | None


def _unpack_manifest(saved: Saved) -> UnstoredManifest | None:
    """Return the manifest of a snapshot. Raises MalformedFrame: a process that sends no manifest is ended at once."""
    if not saved.manifest:
        return None
    try:
        return UnstoredManifest.unpack(saved.manifest)
    except ValueError as exc:
        raise MalformedFrame(f"Saved: {exc}") from exc
