"""A session's chunks, wherever they are: in Redis or the store, the session's own or one of its origins'."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import structlog

from skep_shared.blobs import BlobStore, Folder, ObjectBlobs, RedisBlobs, StoredName
from skep_shared.errors import StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.manifests import IN_REDIS, Chunk
from skep_shared.script_replies import Claim
from skep_shared.stored_form import from_stored_aside, to_stored_aside
from skep_workers.host.backoff import persist, persist_unless_full, persist_within

log = structlog.get_logger()

FULL_SECONDS: Final = 5.0  # that a checkpoint waits for room in Redis
SMALL_BYTES: Final = 16 * 1024  # as an object a chunk up to this size would cost more than its room in Redis


class ChunkPlaces:
    """Stores, reads and removes the chunks of one session. Waits for Redis; for the store only so long."""

    def __init__(self, redis: RedisBlobs, objects: ObjectBlobs | None, claim: Claim, outage_seconds: float) -> None:
        self._redis = redis
        self._objects = objects
        self._outage_seconds = outage_seconds
        self._is_refused = False  # the last chunks were not stored: the next ones are tried once, not for so long again
        self._epoch = IN_REDIS if objects is None else claim.epoch
        self._folders = [
            Folder(claim.session_id, claim.created_at),
            *(Folder(origin.session_id, origin.created_at) for origin in claim.origins),
        ]

    async def put(self, blobs: Sequence[tuple[bytes, bytes]]) -> list[Chunk]:
        """Store chunks by name; gives where they are. Raises StoreUnavailable, RedisFull.

        After it has, the next call waits no more; the first one that succeeds sets that right.
        """
        stored = await to_stored_aside([data for _, data in blobs])
        chunks = [
            Chunk(name, len(raw), len(data), epoch=self._epoch if len(data) > SMALL_BYTES else IN_REDIS)
            for (name, raw), data in zip(blobs, stored, strict=True)
        ]
        by_place: dict[bool, list[tuple[StoredName, bytes]]] = {True: [], False: []}
        for chunk, data in zip(chunks, stored, strict=True):
            by_place[chunk.epoch == IN_REDIS].append((StoredName(chunk.name, chunk.epoch), data))
        if by_place[True]:
            seconds, self._is_refused = (0.0 if self._is_refused else FULL_SECONDS), True
            await persist_unless_full(seconds, lambda: self._redis.put(self._folders[0], by_place[True]), "blobs")
            self._is_refused = False
        if by_place[False]:
            store = self._place(is_in_redis=False)
            seconds, self._is_refused = (0.0 if self._is_refused else self._outage_seconds), True
            await persist_within(seconds, lambda: store.put(self._folders[0], by_place[False]), "store")
            self._is_refused = False
        return chunks

    async def get(self, chunks: Sequence[Chunk]) -> list[bytes | memoryview | None]:
        """Give chunks in this order, None for one that is missing or damaged. Raises StoreUnavailable."""

        def place(index: int) -> tuple[int, bool]:
            return chunks[index].home, chunks[index].epoch == IN_REDIS

        found: dict[int, bytes | memoryview | None] = {}
        for (home, is_in_redis), group in groupby(sorted(range(len(chunks)), key=place), key=place):
            indexes = list(group)
            names = [StoredName(chunks[index].name, chunks[index].epoch) for index in indexes]
            stored = await self._read(home, names, is_in_redis=is_in_redis)
            found.update(zip(indexes, await from_stored_aside(stored), strict=True))
        return [found[index] for index in range(len(chunks))]

    async def remove(self, chunks: Sequence[Chunk]) -> None:
        """Remove the session's own chunks from the store; those in Redis went with the manifests that named them."""
        names = [StoredName(chunk.name, chunk.epoch) for chunk in chunks if chunk.epoch != IN_REDIS]
        if not names or self._objects is None:
            return
        try:
            await self._objects.delete(self._folders[0], names)
        except StoreUnavailable as exc:  # they stay until the session is purged, and cost only their room
            log.warning("store.left_behind", chunks=len(names), error=describe_error(exc))

    async def list_own(self) -> list[Chunk]:
        """Give the session's own chunks that are there, named by a manifest or not; sizes are not known."""
        own = self._folders[0]
        found = [Chunk(name) for name in await persist(lambda: self._redis.list_all(own), "blobs")]
        if self._objects is not None:
            try:
                found += [Chunk(stored.name, epoch=stored.epoch) for stored in await self._objects.list_all(own)]
            except StoreUnavailable as exc:  # what is left behind there costs only its room
                log.warning("store.not_listed", error=describe_error(exc))
        return found

    async def _read(self, home: int, names: Sequence[StoredName], *, is_in_redis: bool) -> list[bytes | None]:
        if home >= len(self._folders):
            return [None] * len(names)  # a manifest that isn't this session's
        folder, store = self._folders[home], self._place(is_in_redis=is_in_redis)
        if is_in_redis:
            return await persist(lambda: store.get(folder, names), "blobs")
        return await persist_within(self._outage_seconds, lambda: store.get(folder, names), "store")

    def _place(self, *, is_in_redis: bool) -> BlobStore:
        if is_in_redis:
            return self._redis
        if self._objects is None:
            raise StoreUnavailable(
                "", "the checkpoint's chunks are in a store, and this worker has no checkpoint_store"
            )
        return self._objects
