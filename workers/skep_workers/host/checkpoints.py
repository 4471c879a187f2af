"""Snapshots on their way from the session process to Redis or the store, before the commit that names them.

Chunks are stored outside of scripts, in pieces small enough not to stall the server, and always before the commit whose
manifest names them; they are addressed by content, so writing one twice changes nothing. The few of a small snapshot
ride in the commit itself. The host never looks into a chunk.
"""

import asyncio
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import RedisFull, StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.frames import Blob, Saved
from skep_shared.manifests import IN_REDIS, Chunk, read_manifest, with_chunks
from skep_shared.owner_scripts import SaveKind
from skep_shared.stored_form import to_stored
from skep_workers.host.chunk_places import ChunkPlaces
from skep_workers.host.holdings import Holdings

log = structlog.get_logger()

BATCH_BYTES: Final = 4 * 1024 * 1024
PENDING_BYTES: Final = 32 * 1024 * 1024
MAX_FAILURE_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class SavedState:
    """A snapshot whose chunks are stored: what the commit has to write. `manifest` is empty if nothing changed.

    failure: why no checkpoint could be made or stored. kind: "void" for no snapshot, but a cell without any effect on
    the state; "last" for what a process leaves behind, which is the checkpoint `seq`-`part`.
    """

    seq: int
    manifest: bytes = b""
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()
    kind: SaveKind = ""
    part: int = 0
    failure: str = ""

    @property
    def checkpoint(self) -> CheckpointId:
        """Return the id of the checkpoint that is made of it."""
        return CheckpointId(self.seq, self.part)


class CheckpointWriter:
    """Stores the chunks of one session, in order, and says when a snapshot's are all there."""

    def __init__(
        self,
        places: ChunkPlaces,
        holdings: Holdings,
        on_saved: Callable[[SavedState], None],
        on_failed: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        """`on_failed` is called when a snapshot can't be stored: its process has to send again what it has sent.

        `on_room` is called whenever there is room for more; a snapshot that filled all of it has more to send.
        """
        self._places = places
        self._holdings = holdings
        self._on_saved = on_saved
        self._on_failed = on_failed
        self._on_room = on_room
        self._queue: asyncio.Queue[Blob | Saved] = asyncio.Queue()  # bounded by bytes, through `is_full`
        self._idle = asyncio.Event()
        self._idle.set()
        self._brought: list[bytes] = []  # chunks since the last snapshot, as `run` comes to them
        self._is_dropping = False
        self._generation = 0
        self._failure = ""  # why the snapshot that is coming can't be stored
        self._reason = ""  # the latest such reason
        self.pending_bytes = 0

    @property
    def is_full(self) -> bool:
        """Tell whether the process should wait with more."""
        return self.pending_bytes > PENDING_BYTES

    def take(self, frame: Blob | Saved) -> None:
        """Take a chunk to store, or the snapshot that names those before it."""
        if self._is_dropping:
            return
        if isinstance(frame, Saved):
            if self._idle.is_set() and not self._holdings.is_removing(frame.blobs):
                self._on_saved(self._complete(frame, ()))
                return
            for name in frame.blobs:
                self._holdings.expect(name)
        else:
            self.pending_bytes += len(frame.data)
            self._holdings.expect(frame.name)
        self._idle.clear()
        self._queue.put_nowait(frame)

    def drop(self) -> None:
        """Forget what has come and is not stored yet, and take nothing more until `restart`."""
        self._is_dropping = True
        self._generation += 1
        self.pending_bytes = 0
        while not self._queue.empty():
            self._queue.get_nowait()
        self._brought.clear()
        self._failure = ""
        self._idle.set()  # `run` may be waiting for the frame that has just been taken back
        self._holdings.abandon()

    def restart(self) -> None:
        """Take snapshots again: they come from another process now."""
        self._is_dropping = False

    async def stored(self) -> None:
        """Wait until everything that was taken is stored, and told."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store until cancelled."""
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
            if isinstance(frame, Saved):
                await self._holdings.settled(frame.blobs)
            if generation != self._generation:  # dropped meanwhile: it was of a process that has gone
                continue
            self.pending_bytes -= size
            if not self.is_full:
                self._on_room()
            if isinstance(frame, Saved):
                brought = [*self._brought, *frame.blobs]
                self._brought.clear()
                self._on_saved(self._complete(frame, brought))

    def _complete(self, saved: Saved, brought: Sequence[bytes]) -> SavedState:
        """Give what the commit has to write for a snapshot, or why it can't be stored."""
        if not saved.manifest:
            self._failure = ""
            return SavedState(saved.seq, failure=saved.failure[:MAX_FAILURE_CHARS])
        failure, self._failure = self._failure, ""
        if failure:
            self._reason = failure
        else:
            manifest = read_manifest(saved.manifest)
            if all(name in saved.blobs or self._holdings.is_known(name) for name in manifest["blobs"]):
                return self._state_of(saved, manifest, brought)
            failure = f"a part of it was sent with one before, which could not be stored: {self._reason}"
        self._holdings.fail(brought)
        self._on_failed()
        return SavedState(saved.seq, failure=failure[:MAX_FAILURE_CHARS])

    async def _store(self, batch: dict[bytes, bytes]) -> None:
        await self._holdings.settled(batch)
        new = [(name, data) for name, data in batch.items() if not self._holdings.is_stored(name)]
        if new:
            for chunk in await self._places.put(new):
                self._holdings.store(chunk)

    def _was_put(self, name: bytes, riding: Container[bytes], named: Container[bytes]) -> bool:
        """Tell whether a chunk was stored in Redis for the sake of a snapshot that names it."""
        chunk = self._holdings.find(name)
        return name in named and name not in riding and (chunk.home, chunk.epoch) == (0, IN_REDIS)

    def _state_of(self, saved: Saved, manifest: dict[str, Any], brought: Sequence[bytes]) -> SavedState:
        new = {name: data for name, data in saved.blobs.items() if not self._holdings.is_stored(name)}
        blobs = tuple(zip(new, to_stored(list(new.values())), strict=True))
        for name, data in blobs:
            self._holdings.ride(Chunk(name, len(new[name]), len(data)))
        # Should Redis go back between the two, the commit must not name what it has lost: it is to look for these.
        blobs += tuple((name, b"") for name in dict.fromkeys(brought) if self._was_put(name, new, manifest["blobs"]))
        chunks = [self._holdings.find(name) for name in manifest["blobs"]]
        self._holdings.snapshot(saved.seq, manifest["blobs"], brought)
        return SavedState(saved.seq, with_chunks(manifest, chunks), blobs, tuple(sorted(manifest["lost"].items())))
