"""The catalog of a session's checkpoints: which ones exist, which are removed, and which one fills a new process."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from redis.asyncio import Redis

from skep_shared.broker.owner_scripts import OwnerScripts
from skep_shared.broker.script_replies import Claim, Pruned
from skep_shared.broker.signatures import open_manifest
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.chunks.stored_manifest import MANIFEST_FIELD, Chunk, StoredManifest
from skep_shared.foreign_errors import describe_error
from skep_shared.protocol.frames import Blob, Expect
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.backoff import persist
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory
from skep_workers.host.checkpoint.chunk_storage import ChunkStorage
from skep_workers.host.checkpoint.retention import CheckpointHistory, RetentionRule

log = structlog.get_logger()

PAGE_CHUNKS: Final = 8
PAGES_AHEAD: Final = 3
PAGE_MANIFESTS: Final = 50
PAGE_GARBAGE: Final = 256  # chunks that one script removes, which takes Redis some milliseconds


def retention_rule(settings: WorkerSettings) -> RetentionRule:
    """Return the rule for which checkpoints to keep, as the settings define it."""
    return RetentionRule(
        settings.keep_checkpoints,
        settings.keep_every_checkpoints,
        settings.keep_every_count,
        settings.checkpoint_budget_bytes,
    )


class CheckpointCatalog:
    """The retained checkpoints of one session, as its owner knows them."""

    def __init__(
        self,
        scripts: OwnerScripts,
        redis: Redis,
        claim: Claim,
        storage: ChunkStorage,
        inventory: ChunkInventory,
        rule: RetentionRule,
    ) -> None:
        self._scripts = scripts
        self._redis = redis
        self._claim = claim
        self._storage = storage
        self._inventory = inventory
        self._rule = rule
        self._history = CheckpointHistory()
        self._protected: frozenset[CheckpointId] = frozenset()
        self._numbers = itertools.count(1)
        self._ahead: tuple[CheckpointId, asyncio.Task[_Reading | None]] | None = None

    async def load(self) -> None:
        """Read from Redis which checkpoints exist when the session is activated."""
        key, start = self._scripts.keys.checkpoints(self._claim.session_id), "-"
        has_more = bool(self._claim.head)
        while has_more:
            page = await persist(
                lambda start=start: self._redis.xrange(key, start, "+", count=PAGE_MANIFESTS),  # type: ignore[misc]
                "checkpoints",
            )
            for entry_id, fields in page:
                self._add_stored(CheckpointId.parse(entry_id), fields[MANIFEST_FIELD])
            has_more = len(page) == PAGE_MANIFESTS
            start = f"({page[-1][0].decode()}" if page else start
        if self._claim.losses:  # the previous owner may have died between storing a snapshot's chunks and its commit
            self._inventory.add_leftovers(await self._storage.list_own_chunks())

    def _add_stored(self, checkpoint: CheckpointId, stored: bytes) -> None:
        try:
            manifest = self._unpack(checkpoint, stored)
        except (ValueError, TypeError) as exc:  # none of its chunks is known
            log.error(
                "checkpoint.unreadable",
                session_id=self._claim.session_id,
                checkpoint=str(checkpoint),
                error=describe_error(exc),
            )
            self._history.add(checkpoint, len(stored), [])
            self._inventory.record_commit(checkpoint.seq, [])
        else:
            self.add(checkpoint, manifest, len(stored))

    def add(self, checkpoint: CheckpointId, manifest: StoredManifest, stored_bytes: int) -> None:
        """Add a checkpoint that has been committed. stored_bytes: size of its manifest in Redis."""
        self._history.add(checkpoint, stored_bytes, manifest.chunks, is_upload=manifest.is_upload)
        self._inventory.record_commit(checkpoint.seq, manifest.chunks)

    @property
    def stored_bytes(self) -> int:
        """The bytes of all retained checkpoints, without those of the session's origins."""
        return self._history.stored_bytes

    @property
    def newest(self) -> CheckpointId:
        """The latest checkpoint that has been committed, NO_CHECKPOINT without one."""
        return max(self._history.checkpoints, default=NO_CHECKPOINT)

    def has(self, checkpoint: CheckpointId) -> bool:
        """Return whether that checkpoint has been committed; always true for NO_CHECKPOINT."""
        return not checkpoint or checkpoint in self._history

    def up_to(self, head: CheckpointId) -> list[CheckpointId]:
        """Return the checkpoints from `head` back to the oldest that is retained."""
        return sorted((known for known in self._history.checkpoints if known <= head), reverse=True)

    async def prune(self) -> None:
        """Remove the checkpoints that are due, and the chunks that no manifest names any more.

        Raises Fenced, EventGap.
        """
        protected = self._protected
        orphans = self._inventory.pop_orphans(self._history.chunk_names)
        while True:
            due = self._history.to_remove(self._rule, protected)
            garbage = sorted((self._history.named_only_by(due) | orphans) - self._inventory.needed())
            if not due and not garbage:
                return
            with self._inventory.removing(garbage):
                answer = await self._prune(due, garbage[:PAGE_GARBAGE])
                if not answer.is_done:  # unknown to us, one was named, pinned or made the head: choose again
                    protected |= answer.protected
                    continue
                self._protected = protected = answer.protected
                self._history.remove(due)
                chunks = [self._inventory.find_to_remove(name) for name in garbage]
                self._inventory.record_removal(garbage)
                orphans = set()
                for start in range(PAGE_GARBAGE, len(garbage), PAGE_GARBAGE):
                    await self._prune([], garbage[start : start + PAGE_GARBAGE])
                await self._storage.remove_chunks(chunks)

    async def _prune(self, due: list[CheckpointId], garbage: list[bytes]) -> Pruned:
        prune, number, newest = self._scripts.prune, next(self._numbers), self.newest.seq
        return await persist(lambda: prune(self._claim, due, garbage, number=number, newest=newest), "prune")

    async def read_manifest(self, checkpoint: CheckpointId) -> StoredManifest | None:
        """Read a manifest, None if Redis doesn't have it. Raises ValueError, TypeError."""
        if self._ahead is not None and self._ahead[0] == checkpoint:
            reading = await self._ahead[1]
            if reading is not None:
                return reading.manifest
        return await self._read_manifest(checkpoint)

    async def _read_manifest(self, checkpoint: CheckpointId) -> StoredManifest | None:
        key, entry_id = self._scripts.keys.checkpoints(self._claim.session_id), str(checkpoint)
        found = await persist(lambda: self._redis.xrange(key, entry_id, entry_id), "checkpoint")
        return self._unpack(checkpoint, found[0][1][MANIFEST_FIELD]) if found else None

    def _unpack(self, checkpoint: CheckpointId, stored: bytes) -> StoredManifest:
        """Check and unpack a stored manifest. Raises SignatureRefused (a ValueError), ValueError, TypeError."""
        packed = open_manifest(self._scripts.signer, self._claim.session_id, checkpoint, stored)
        return StoredManifest.unpack(packed)

    @asynccontextmanager
    async def reading_ahead(self, head: CheckpointId) -> AsyncIterator[None]:
        """Start reading the latest checkpoint up to `head`; `read_manifest` and `send_chunks` use what was read."""
        latest = next(iter(self.up_to(head)), NO_CHECKPOINT)
        if latest:
            self._ahead = latest, asyncio.create_task(self._read_ahead(latest), name="first chunks of a checkpoint")
        try:
            yield
        finally:
            if self._ahead is not None:
                _, beginning = self._ahead
                self._ahead = None
                beginning.cancel()
                for began in await asyncio.gather(beginning, return_exceptions=True):
                    if isinstance(began, _Reading):
                        await began.stop()

    async def _read_ahead(self, checkpoint: CheckpointId) -> "_Reading | None":
        with suppress(ValueError, TypeError):  # raised again when the checkpoint is restored
            manifest = await self._read_manifest(checkpoint)
            if manifest is not None:
                return _Reading(manifest, self._storage.read_chunks)
        return None

    async def send_chunks(self, manifest: StoredManifest, send: Callable[[Blob | Expect], Awaitable[None]]) -> None:
        """Send the chunks that a manifest names, except missing ones; many are announced by an Expect frame first.

        Raises StoreUnavailable.
        """
        reading = await self._ahead[1] if self._ahead is not None else None
        if reading is None or reading.manifest is not manifest:
            reading = _Reading(manifest, self._storage.read_chunks)
        try:
            if reading.is_long:
                await send(Expect(manifest.packed))
            while (page := await reading.next_page()) is not None:
                for blob in page:
                    await send(blob)
        finally:
            await reading.stop()


class _Reading:
    """The chunks that a manifest names, page by page; the next pages are read while one is sent."""

    def __init__(
        self,
        manifest: StoredManifest,
        read_chunks: Callable[[Sequence[Chunk]], Awaitable[list[bytes | memoryview | None]]],
    ) -> None:
        """Start to read."""
        self.manifest: Final = manifest
        self._read_chunks = read_chunks
        chunks = manifest.chunks
        self._pages = deque(chunks[start : start + PAGE_CHUNKS] for start in range(0, len(chunks), PAGE_CHUNKS))
        self._tasks: deque[asyncio.Task[list[Blob]]] = deque()
        self.is_long: Final = len(self._pages) > 1
        self._start_tasks()

    async def next_page(self) -> list[Blob] | None:
        """Return the next chunks, except missing ones; None at the end. Raises StoreUnavailable."""
        self._start_tasks()
        if not self._tasks:
            return None
        page = await self._tasks[0]
        self._tasks.popleft()
        self._start_tasks()
        return page

    async def stop(self) -> None:
        """Stop reading."""
        self._pages.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_tasks(self) -> None:
        while self._pages and len(self._tasks) < PAGES_AHEAD:
            page = self._pages.popleft()
            self._tasks.append(asyncio.create_task(self._read_page(page), name="chunks of a checkpoint"))

    async def _read_page(self, page: Sequence[Chunk]) -> list[Blob]:
        data = await self._read_chunks(page)
        return [Blob(chunk.name, found) for chunk, found in zip(page, data, strict=True) if found is not None]
