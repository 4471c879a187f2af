"""Where the chunks of checkpoints are stored: in Redis, or as files or objects through obstore (extra `store`).

Both handle chunks in their stored form, many at a time. Chunks in Redis are removed by the script that removes the last
manifest naming them, in one step. A store has no such transactions. Instead, an object is named after the incarnation
of its session and the epoch of the owner that wrote it. So an owner that has lost its session while it removes objects
can only remove those that no manifest refers to any more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis

from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.redis_url import redacted
from skep_shared.chunks.durable_files import write_durably
from skep_shared.errors import InvalidArgument, StoreUnavailable
from skep_shared.full_ids import file_name_of

T = TypeVar("T")

SCHEMES: Final = ("file", "s3", "gs", "az")
PARALLEL: Final = 8
LIST_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Folder:
    """The chunks of one session. created_at (ms) distinguishes it from an earlier session of the same id."""

    session_id: str
    created_at: int

    def __str__(self) -> str:
        return f"{file_name_of(self.session_id)}/{self.created_at}"


@dataclass(frozen=True, slots=True)
class StoredName:
    """A chunk's name and the epoch of the owner that stored it."""

    name: bytes
    epoch: int


class BlobStore(Protocol):
    """A place where the chunks of checkpoints are stored."""

    async def store_chunks(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks, each whole or not at all; storing one again is harmless."""

    async def read_chunks(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Return chunks in this order, None for a missing one."""


class RedisBlobs:
    """Chunks in their session's hash of blobs. Methods raise what the driver raises."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def store_chunks(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks."""
        key = self._keys.blobs(folder.session_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for stored, data in blobs:
                pipe.hset(key, stored.name, data)  # type: ignore[arg-type]
            await pipe.execute()

    async def read_chunks(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Return chunks in this order, None for a missing one."""
        key = self._keys.blobs(folder.session_id)
        found: list[bytes | None] = await self._redis.execute_command("HMGET", key, *(stored.name for stored in names))
        return found

    async def list_chunks(self, folder: Folder) -> list[bytes]:
        """Return the names of all chunks of a session."""
        found: list[bytes] = await self._redis.execute_command("HKEYS", self._keys.blobs(folder.session_id))
        return found


class ObjectBlobs:
    """Chunks as files or objects below a URL. A call that does not end within its deadline raises StoreUnavailable."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """Open the store, without I/O. Raises InvalidArgument for an unusable URL, and if obstore is not installed."""
        self._store = _open(url, timeout_seconds)
        self._directory = Path(urlsplit(url).path) if urlsplit(url).scheme == "file" else None
        self._url = url
        self._timeout = timeout_seconds

    async def check(self, probe: str) -> None:
        """Write, read and remove an object of this name. Raises StoreUnavailable if one of these fails."""
        path = f"probe-{probe}"
        async with self._deadline():
            await self._write([(path, b"skep")])
            found = await self._store.get_async(path)
            await found.bytes_async()
            await self._store.delete_async(path)

    async def store_chunks(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks durably. Raises StoreUnavailable."""
        async with self._deadline():
            await self._write([(_path(folder, stored), data) for stored, data in blobs])

    async def read_chunks(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Return chunks in this order, None for a missing one. Raises StoreUnavailable."""
        return await self._for_each([_path(folder, stored) for stored in names], self._read)

    async def remove_chunks(self, folder: Folder, names: Sequence[StoredName]) -> None:
        """Remove chunks, ignoring missing ones. Raises StoreUnavailable."""
        await self._for_each([_path(folder, stored) for stored in names], self._remove)

    async def remove_folder(self, folder: Folder) -> None:
        """Remove all chunks of a session. Raises StoreUnavailable."""
        while True:  # each page has its own deadline: a session may have any number of chunks
            async with self._deadline():
                listing = aiter(self._store.list(prefix=str(folder), chunk_size=LIST_PAGE))
                paths = [entry["path"] for entry in await anext(listing, [])]
            if not paths:
                return
            await self._for_each(paths, self._remove)

    async def list_chunks(self, folder: Folder) -> list[StoredName]:
        """Return the names of all chunks of a session. Raises StoreUnavailable."""
        async with self._deadline():
            paths = [
                entry["path"]
                async for page in self._store.list(prefix=str(folder), chunk_size=LIST_PAGE)
                for entry in page
            ]
        parts = (path.rpartition("/") for path in paths)
        return [StoredName(bytes.fromhex(name), int(parent.rpartition("/")[2])) for parent, _, name in parts]

    async def _write(self, files: Sequence[tuple[str, bytes]]) -> None:
        if self._directory is not None:  # obstore doesn't flush the files that it writes
            await asyncio.to_thread(write_durably, self._directory, files)
            return
        free = asyncio.Semaphore(PARALLEL)

        async def write(path: str, data: bytes) -> None:
            async with free:
                await self._store.put_async(path, data)

        async with asyncio.TaskGroup() as group:
            for path, data in files:
                group.create_task(write(path, data), name="chunk")

    async def _read(self, path: str) -> bytes | None:
        try:
            found = await self._store.get_async(path)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await self._store.delete_async(path)

    async def _for_each(self, items: Sequence[Any], call: Callable[[Any], Awaitable[T]]) -> list[T]:
        """Call `call` with each item, up to PARALLEL at a time; return the results in order.

        The deadline is for all of them together.
        """
        free = asyncio.Semaphore(PARALLEL)

        async def one(item: Any) -> T:
            async with free:
                return await call(item)

        async with self._deadline(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item), name="chunk") for item in items]
        return [task.result() for task in tasks]

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise StoreUnavailable(self._url, f"no answer within {self._timeout:g} s") from None
        except Exception as exc:  # depending on its kind, the store's errors derive from Exception or OSError
            raise StoreUnavailable(self._url, _first_line(exc)) from exc


def _path(folder: Folder, stored: StoredName) -> str:
    return f"{folder}/{stored.epoch}/{stored.name.hex()}"


def _first_line(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__


def _open(url: str, timeout_seconds: float) -> Any:
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise InvalidArgument("checkpoint_store", url, str(exc)) from exc
    if parts.scheme not in SCHEMES or parts.query or parts.username is not None:
        limit = f"one of {', '.join(f'{s}://' for s in SCHEMES)} is needed; credentials belong in the environment"
        raise InvalidArgument("checkpoint_store", redacted(url), limit)
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra, needed only with this setting
        from obstore.store import LocalStore, from_url  # noqa: PLC0415
    except ImportError as exc:
        raise InvalidArgument("checkpoint_store", url, "obstore is needed: pip install 'skep[store]'") from exc
    try:
        if parts.scheme == "file":
            if parts.netloc or not parts.path.strip("/"):
                raise InvalidArgument("checkpoint_store", url, "file:///absolute/path is needed")
            return LocalStore(parts.path, automatic_cleanup=True, mkdir=True)
        seconds = f"{timeout_seconds:g}s"
        options: Any = {
            "timeout": seconds,
            "connect_timeout": seconds,
            "allow_http": True,  # an endpoint that is configured as http:// is meant to be used
        }
        return from_url(url, client_options=options, retry_config={"max_retries": 0})  # the caller tries again
    except (BaseError, OSError, ValueError) as exc:
        if isinstance(exc, InvalidArgument):
            raise
        raise InvalidArgument("checkpoint_store", url, _first_line(exc)) from exc
