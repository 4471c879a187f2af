"""The checkpoints of a session that are kept: which there are, which go, and what a new process is filled from."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from redis.asyncio import Redis

from skep_shared.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.foreign_errors import describe_error
from skep_shared.frames import Blob, Expect
from skep_shared.manifests import Chunk, chunks_of, plain_manifest, read_manifest
from skep_shared.owner_scripts import OwnerScripts
from skep_shared.script_replies import Claim, Pruned
from skep_shared.settings import WorkerSettings
from skep_workers.host.backoff import persist
from skep_workers.host.chunk_places import ChunkPlaces
from skep_workers.host.holdings import Holdings
from skep_workers.host.retention import History, Rule

log = structlog.get_logger()

PAGE_CHUNKS: Final = 8
PAGES_AHEAD: Final = 3
PAGE_MANIFESTS: Final = 50
PAGE_GARBAGE: Final = 256  # chunks that one script frees, which takes Redis some milliseconds


def retention_rule(settings: WorkerSettings) -> Rule:
    """Give what the settings say of which checkpoints are kept."""
    return Rule(
        settings.keep_checkpoints,
        settings.keep_every_checkpoints,
        settings.keep_every_count,
        settings.checkpoint_budget_bytes,
    )


class CheckpointShelf:
    """The kept checkpoints of one session, as their owner knows them."""

    def __init__(
        self, scripts: OwnerScripts, redis: Redis, claim: Claim, places: ChunkPlaces, holdings: Holdings, rule: Rule
    ) -> None:
        self._scripts = scripts
        self._redis = redis
        self._claim = claim
        self._places = places
        self._holdings = holdings
        self._rule = rule
        self._history = History()
        self._protected: frozenset[CheckpointId] = frozenset()
        self._numbers = itertools.count(1)
        self._ahead: tuple[CheckpointId, asyncio.Task[_Reading | None]] | None = None

    async def load(self) -> None:
        """Read what is there when the session comes."""
        key, start = self._scripts.keys.checkpoints(self._claim.session_id), "-"
        more = bool(self._claim.head)
        while more:
            page = await persist(
                lambda start=start: self._redis.xrange(key, start, "+", count=PAGE_MANIFESTS),  # type: ignore[misc]
                "checkpoints",
            )
            for entry_id, fields in page:
                self.add(CheckpointId.parse(entry_id), fields[b"m"])
            more = len(page) == PAGE_MANIFESTS
            start = f"({page[-1][0].decode()}" if page else start
        if self._claim.losses:  # the owner before may have died between a snapshot's chunks and its commit
            self._holdings.find_left(await self._places.list_own())

    def add(self, checkpoint: CheckpointId, manifest: bytes) -> None:
        """Take a checkpoint that has been committed; of one that can't be read no chunk is known."""
        try:
            chunks = chunks_of(read_manifest(manifest))
        except (ValueError, TypeError) as exc:
            log.error(
                "checkpoint.unreadable",
                session_id=self._claim.session_id,
                checkpoint=str(checkpoint),
                error=describe_error(exc),
            )
            chunks = []
        self._history.add(checkpoint, len(manifest), chunks)
        self._holdings.commit(checkpoint.seq, chunks)

    @property
    def newest(self) -> CheckpointId:
        """Return the last checkpoint that has been committed, NO_CHECKPOINT without one."""
        return max(self._history.checkpoints, default=NO_CHECKPOINT)

    def has(self, checkpoint: CheckpointId) -> bool:
        """Tell whether that checkpoint has been committed; NO_CHECKPOINT always has."""
        return not checkpoint or checkpoint in self._history

    async def prune(self) -> None:
        """Remove the checkpoints that go, and the chunks that nothing names any more. Raises Fenced, EventGap."""
        protected = self._protected
        orphans = self._holdings.take_orphans(self._history.chunk_names)
        while True:
            gone = self._history.to_remove(self._rule, protected)
            garbage = sorted((self._history.named_only_by(gone) | orphans) - self._holdings.needed())
            if not gone and not garbage:
                return
            with self._holdings.removing(garbage):
                answer = await self._prune(gone, garbage[:PAGE_GARBAGE])
                if not answer.is_done:  # named, pinned or the head, which we had not heard: choose again
                    protected |= answer.protected
                    continue
                self._protected = protected = answer.protected
                self._history.remove(gone)
                chunks = [self._holdings.find(name) for name in garbage]
                self._holdings.removed(garbage)
                orphans = set()
                for start in range(PAGE_GARBAGE, len(garbage), PAGE_GARBAGE):
                    await self._prune([], garbage[start : start + PAGE_GARBAGE])
                await self._places.remove(chunks)

    async def _prune(self, gone: list[CheckpointId], garbage: list[bytes]) -> Pruned:
        prune, number, newest = self._scripts.prune, next(self._numbers), self.newest.seq
        return await persist(lambda: prune(self._claim, gone, garbage, number=number, newest=newest), "prune")

    @asynccontextmanager
    async def reading_ahead(self, head: CheckpointId) -> AsyncIterator[None]:
        """Begin to read the checkpoint at `head` meanwhile: `manifests` and `hand_on` go on from there."""
        latest = max((known for known in self._history.checkpoints if known <= head), default=NO_CHECKPOINT)
        if latest:
            self._ahead = latest, asyncio.create_task(self._begin(latest), name="first chunks of a checkpoint")
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

    async def _begin(self, checkpoint: CheckpointId) -> "_Reading | None":
        manifest = await self._read_manifest(checkpoint)
        if manifest is None:
            return None
        with suppress(ValueError, TypeError):  # whoever needs it will be told
            return _Reading(manifest, self._places.get)
        return None

    async def _read_manifest(self, checkpoint: CheckpointId) -> bytes | None:
        key, entry_id = self._scripts.keys.checkpoints(self._claim.session_id), str(checkpoint)
        found = await persist(lambda: self._redis.xrange(key, entry_id, entry_id), "checkpoint")
        return next((fields[b"m"] for _, fields in found), None)

    async def manifests(self, head: CheckpointId) -> AsyncIterator[tuple[CheckpointId, bytes]]:
        """Yield (checkpoint, manifest) from `head` back to the oldest that is kept."""
        for checkpoint in sorted((known for known in self._history.checkpoints if known <= head), reverse=True):
            if self._ahead is not None and self._ahead[0] == checkpoint:
                reading = await self._ahead[1]
                manifest = None if reading is None else reading.manifest
            else:
                manifest = None
            manifest = manifest or await self._read_manifest(checkpoint)
            if manifest is not None:
                yield checkpoint, manifest

    async def hand_on(self, manifest: bytes, take: Callable[[Blob | Expect], Awaitable[None]]) -> None:
        """Give the chunks that a manifest names, but missing ones, to `take`; if they are many, after what to expect.

        Raises StoreUnavailable, ValueError.
        """
        reading = await self._ahead[1] if self._ahead is not None else None
        if reading is None or reading.manifest is not manifest:
            reading = _Reading(manifest, self._places.get)
        try:
            if reading.is_long:
                await take(Expect(plain_manifest(manifest)))
            while (page := await reading.next_page()) is not None:
                for blob in page:
                    await take(blob)
        finally:
            await reading.stop()


class _Reading:
    """The chunks that a manifest names, page by page; the next pages are read while one is handed on."""

    def __init__(
        self, manifest: bytes, get: Callable[[Sequence[Chunk]], Awaitable[list[bytes | memoryview | None]]]
    ) -> None:
        """Begin. Raises ValueError, TypeError for what is no manifest."""
        self.manifest: Final = manifest
        self._get = get
        chunks = chunks_of(read_manifest(manifest))
        self._pages = deque(chunks[start : start + PAGE_CHUNKS] for start in range(0, len(chunks), PAGE_CHUNKS))
        self._read: deque[asyncio.Task[list[Blob]]] = deque()
        self.is_long: Final = len(self._pages) > 1
        self._read_on()

    async def next_page(self) -> list[Blob] | None:
        """Give the next chunks, but missing ones; None at the end. Raises StoreUnavailable."""
        self._read_on()
        if not self._read:
            return None
        page = await self._read[0]
        self._read.popleft()
        self._read_on()
        return page

    async def stop(self) -> None:
        """Read no more."""
        self._pages.clear()
        for task in self._read:
            task.cancel()
        await asyncio.gather(*self._read, return_exceptions=True)

    def _read_on(self) -> None:
        while self._pages and len(self._read) < PAGES_AHEAD:
            page = self._pages.popleft()
            self._read.append(asyncio.create_task(self._read_page(page), name="chunks of a checkpoint"))

    async def _read_page(self, page: Sequence[Chunk]) -> list[Blob]:
        data = await self._get(page)
        return [Blob(chunk.name, found) for chunk, found in zip(page, data, strict=True) if found is not None]
