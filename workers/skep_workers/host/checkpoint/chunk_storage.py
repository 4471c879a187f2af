"""A session's chunks, wherever they are: in Redis or the store, the session's own or those of its origins."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

import structlog

from skep_shared.broker.script_replies import Claim
from skep_shared.chunks.blobs import BlobStore, Folder, ObjectBlobs, RedisBlobs, StoredName
from skep_shared.chunks.stored_form import from_stored_in_thread, to_stored, to_stored_in_thread
from skep_shared.chunks.stored_manifest import IN_REDIS, Chunk
from skep_shared.errors import SignatureRefused, StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.signing import Signer
from skep_workers.host.broker.backoff import persist, persist_unless_full, persist_within

log = structlog.get_logger()

FULL_SECONDS: Final = 5.0  # that a checkpoint waits for room in Redis
SMALL_BYTES: Final = 16 * 1024  # up to this size an object in the store would cost more than the memory in Redis


class ChunkStorage:
    """Stores, reads and removes the chunks of one session. Waits for Redis without limit, for the store with one."""

    def __init__(
        self,
        redis: RedisBlobs,
        objects: ObjectBlobs | None,
        claim: Claim,
        outage_seconds: float,
        signer: Signer | None = None,
    ) -> None:
        self._signer = signer
        self._redis = redis
        self._objects = objects
        self._outage_seconds = outage_seconds
        self._is_refused = False  # the last chunks could not be stored: the next ones are tried once, without waiting
        self._epoch = IN_REDIS if objects is None else claim.epoch
        self._folders = [
            Folder(claim.session_id, claim.created_at),
            *(Folder(origin.session_id, origin.created_at) for origin in claim.origins),
        ]

    async def store_chunks(self, blobs: Sequence[tuple[bytes, bytes]]) -> list[Chunk]:
        """Store chunks by name; return where they are. Raises StoreUnavailable, RedisFull.

        After it has raised, calls don't wait and try once, until one succeeds.
        """
        stored = await to_stored_in_thread([data for _, data in blobs])
        if self._signer is not None:
            stored = await asyncio.to_thread(self._seal, self._signer, [name for name, _ in blobs], stored)
        chunks = [
            Chunk(name, len(raw), len(data), epoch=self._epoch if len(data) > SMALL_BYTES else IN_REDIS)
            for (name, raw), data in zip(blobs, stored, strict=True)
        ]
        by_place: dict[bool, list[tuple[StoredName, bytes]]] = {True: [], False: []}
        for chunk, data in zip(chunks, stored, strict=True):
            by_place[chunk.epoch == IN_REDIS].append((StoredName(chunk.name, chunk.epoch), data))
        own, redis = self._folders[0], self._redis
        if by_place[True]:
            seconds, self._is_refused = (0.0 if self._is_refused else FULL_SECONDS), True
            await persist_unless_full(seconds, lambda: redis.store_chunks(own, by_place[True]), "blobs")
            self._is_refused = False
        if by_place[False]:
            store = self._store(is_in_redis=False)
            seconds, self._is_refused = (0.0 if self._is_refused else self._outage_seconds), True
            await persist_within(seconds, lambda: store.store_chunks(own, by_place[False]), "store")
            self._is_refused = False
        return chunks

    def in_stored_form(self, chunks: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the stored form of a few small chunks, by name, that a commit stores."""
        stored = to_stored(list(chunks.values()))
        return stored if self._signer is None else self._seal(self._signer, chunks, stored)

    def _seal(self, signer: Signer, names: Iterable[bytes], stored: Iterable[bytes]) -> list[bytes]:
        own = self._folders[0].session_id
        return [signer.seal("chunk", own, name, data) for name, data in zip(names, stored, strict=True)]

    def _open(
        self, signer: Signer, home: int, names: Iterable[bytes], stored: Iterable[bytes | None]
    ) -> list[bytes | None]:
        """Return stored chunks without their seals; None, as for a missing one, if a seal is refused."""
        opened: list[bytes | None] = []
        for name, data in zip(names, stored, strict=True):
            try:
                session_id = self._folders[home].session_id if data is not None else ""
                opened.append(None if data is None else signer.open("chunk", session_id, name, data))
            except SignatureRefused as exc:
                log.error("signature.refused", what=exc.what, reason=exc.reason)
                opened.append(None)
        return opened

    async def read_chunks(self, chunks: Sequence[Chunk]) -> list[bytes | memoryview | None]:
        """Return the bytes of chunks in this order, None for missing or damaged ones. Raises StoreUnavailable."""

        def place(index: int) -> tuple[int, bool]:
            return chunks[index].home, chunks[index].epoch == IN_REDIS

        found: dict[int, bytes | memoryview | None] = {}
        for (home, is_in_redis), group in groupby(sorted(range(len(chunks)), key=place), key=place):
            indexes = list(group)
            names = [StoredName(chunks[index].name, chunks[index].epoch) for index in indexes]
            stored = await self._read(home, names, is_in_redis=is_in_redis)
            if self._signer is not None:
                names_of = [stored_name.name for stored_name in names]
                stored = await asyncio.to_thread(self._open, self._signer, home, names_of, stored)
            found.update(zip(indexes, await from_stored_in_thread(stored), strict=True))
        return [found[index] for index in range(len(chunks))]

    async def remove_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Remove the session's own chunks from the store; prune.lua has removed those in Redis with their manifests."""
        names = [StoredName(chunk.name, chunk.epoch) for chunk in chunks if chunk.epoch != IN_REDIS]
        if not names or self._objects is None:
            return
        try:
            await self._objects.remove_chunks(self._folders[0], names)
        except StoreUnavailable as exc:  # they remain until the session is purged, and cost only storage
            log.warning("store.left_behind", chunks=len(names), error=describe_error(exc))

    async def list_own_chunks(self) -> list[Chunk]:
        """Return the session's own chunks that exist, named by a manifest or not; their sizes are not known."""
        own = self._folders[0]
        found = [Chunk(name) for name in await persist(lambda: self._redis.list_chunks(own), "blobs")]
        if self._objects is not None:
            try:
                found += [Chunk(stored.name, epoch=stored.epoch) for stored in await self._objects.list_chunks(own)]
            except StoreUnavailable as exc:  # chunks that are left behind there cost only storage
                log.warning("store.not_listed", error=describe_error(exc))
        return found

    async def _read(self, home: int, names: Sequence[StoredName], *, is_in_redis: bool) -> list[bytes | None]:
        if home >= len(self._folders):
            return [None] * len(names)  # a manifest that isn't this session's
        folder, store = self._folders[home], self._store(is_in_redis=is_in_redis)
        if is_in_redis:
            return await persist(lambda: store.read_chunks(folder, names), "blobs")
        return await persist_within(self._outage_seconds, lambda: store.read_chunks(folder, names), "store")

    def _store(self, *, is_in_redis: bool) -> BlobStore:
        if is_in_redis:
            return self._redis
        if self._objects is None:
            raise StoreUnavailable(
                "", "the checkpoint's chunks are in a store, and this worker has no checkpoint_store"
            )
        return self._objects
