"""Checkpoints on their way: from the session process to Redis before the commit that names them, and back.

Chunks are stored outside of scripts, in pieces small enough not to stall the server, and always before the commit whose
manifest names them; they are addressed by content, so writing one twice changes nothing. What no kept manifest names
any more is removed afterwards. The host never looks into a chunk.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack
import structlog
from redis.asyncio import Redis

from skep_shared.frames import Blob, Saved
from skep_shared.keys import Keys
from skep_shared.scripts import Claim, Scripts
from skep_workers.host.backoff import persist

log = structlog.get_logger()

BATCH_BYTES: Final = 4 * 1024 * 1024
PENDING_BYTES: Final = 32 * 1024 * 1024
PAGE_CHUNKS: Final = 8


@dataclass(frozen=True, slots=True)
class SavedState:
    """A snapshot whose chunks are stored: what the commit has to write. `manifest` is empty if nothing changed."""

    seq: int
    manifest: bytes = b""
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


class CheckpointWriter:
    """Stores the chunks of one session, in order, and says when a snapshot's are all there."""

    def __init__(self, redis: Redis, keys: Keys, session_id: str, on_saved: Callable[[SavedState], None]) -> None:
        self._redis = redis
        self._key = keys.blobs(session_id)
        self._session_id = session_id
        self._on_saved = on_saved
        self._queue: asyncio.Queue[Blob | Saved] = asyncio.Queue()  # bounded by bytes, through `is_full`
        self.pending_bytes = 0

    @property
    def is_full(self) -> bool:
        """Tell whether the process should wait with more."""
        return self.pending_bytes > PENDING_BYTES

    def take(self, frame: Blob | Saved) -> None:
        """Take a chunk to store, or the snapshot that names those before it."""
        if isinstance(frame, Saved) and not self.pending_bytes and self._queue.empty():
            self._on_saved(_state_of(frame))
            return
        if isinstance(frame, Blob):
            self.pending_bytes += len(frame.data)
        self._queue.put_nowait(frame)

    async def run(self) -> None:
        """Store until cancelled."""
        while True:
            batch: list[tuple[bytes, bytes]] = []
            size = 0
            frame = await self._queue.get()
            while isinstance(frame, Blob):
                batch.append((frame.name, frame.data))
                size += len(frame.data)
                if size >= BATCH_BYTES or self._queue.empty():
                    break
                frame = self._queue.get_nowait()
            if batch:
                await persist(lambda batch=batch: self._store(batch), "blobs", session_id=self._session_id)  # type: ignore[misc]
                self.pending_bytes -= size
            if isinstance(frame, Saved):
                self._on_saved(_state_of(frame))

    async def _store(self, batch: list[tuple[bytes, bytes]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, data in batch:
                pipe.hset(self._key, name, data)  # type: ignore[arg-type]
            await pipe.execute()


def _state_of(saved: Saved) -> SavedState:
    lost = read_manifest(saved.manifest)["lost"] if saved.manifest else {}
    return SavedState(saved.seq, saved.manifest, tuple(saved.blobs.items()), tuple(sorted(lost.items())))


def read_manifest(packed: bytes) -> dict[str, Any]:
    """Give what the host needs of a manifest: its `blobs` and `lost`. Raises ValueError."""
    manifest = msgpack.unpackb(packed, unicode_errors="surrogatepass")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("blobs"), list):
        raise ValueError("a manifest was expected")  # noqa: TRY004 - what the bytes say is wrong, not their type
    return manifest


class CheckpointShelf:
    """The checkpoints of a session that are kept: the latest few; it knows which chunks only older ones named."""

    def __init__(self, scripts: Scripts, redis: Redis, claim: Claim, keep: int) -> None:
        self._scripts = scripts
        self._redis = redis
        self._claim = claim
        self._keep = keep
        self._digests: OrderedDict[int, frozenset[bytes]] = OrderedDict()

    async def load(self) -> None:
        """Read what is there when the session comes."""
        key = self._scripts.keys.checkpoints(self._claim.session_id)
        for entry_id, fields in await persist(lambda: self._redis.xrange(key), "checkpoints"):
            self.add(int(entry_id.partition(b"-")[0]), fields[b"m"])

    def add(self, seq: int, manifest: bytes) -> None:
        """Take a checkpoint that has been committed."""
        self._digests[seq] = frozenset(read_manifest(manifest)["blobs"])

    async def prune(self) -> None:
        """Remove checkpoints beyond those kept, and the chunks that nothing names any more. Raises Fenced."""
        dropped: set[bytes] = set()
        while len(self._digests) > self._keep:
            dropped |= self._digests.popitem(last=False)[1]
        if not dropped:
            return
        oldest = next(iter(self._digests))
        garbage = dropped.difference(*self._digests.values())
        await persist(lambda: self._scripts.prune(self._claim, oldest, sorted(garbage)), "prune")

    async def manifests(self, head: int) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (seq, manifest) from `head` back to the oldest that is kept."""
        key = self._scripts.keys.checkpoints(self._claim.session_id)
        for seq in sorted((known for known in self._digests if known <= head), reverse=True):
            found = await persist(lambda seq=seq: self._redis.xrange(key, f"{seq}-0", f"{seq}-0"), "checkpoint")  # type: ignore[misc]
            for _, fields in found:
                yield seq, fields[b"m"]

    async def chunks(self, manifest: bytes) -> AsyncIterator[Blob]:
        """Yield the chunks that a manifest names; one that is missing is left out."""
        key = self._scripts.keys.blobs(self._claim.session_id)
        names = read_manifest(manifest)["blobs"]
        for start in range(0, len(names), PAGE_CHUNKS):
            page = names[start : start + PAGE_CHUNKS]
            found = await persist(lambda page=page: self._redis.execute_command("HMGET", key, *page), "blobs")  # type: ignore[misc]
            for name, data in zip(page, found, strict=True):
                if data is not None:
                    yield Blob(name, data)
