"""Where the chunks of checkpoints are kept: in Redis, or in files or objects through obstore (extra `store`).

Both give and take stored bytes, many at a time. What is in Redis is removed by the scripts that remove the last
manifest naming it, in one step; a store knows no such steps. There an object is named after the incarnation of its
session and the epoch of the owner that wrote it, so that an owner that lost its session in the middle of removing
something can only remove what nobody refers to any more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis

from skep_shared.durable_files import write_durably
from skep_shared.errors import InvalidArgument, StoreUnavailable
from skep_shared.keys import Keys
from skep_shared.redis_url import redacted

T = TypeVar("T")

SCHEMES: Final = ("file", "s3", "gs", "az")
PARALLEL: Final = 8
LIST_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Folder:
    """The chunks of one session. created_at (ms) tells it from an earlier session of the same id."""

    session_id: str
    created_at: int

    def __str__(self) -> str:
        return f"{self.session_id}/{self.created_at}"


@dataclass(frozen=True, slots=True)
class StoredName:
    """A chunk's name and the epoch of the owner that stored it."""

    name: bytes
    epoch: int


class BlobStore(Protocol):
    """What a checkpoint needs of a place for chunks."""

    async def put(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks, each whole or not at all; again is harmless."""

    async def get(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Give chunks in this order, None for one that is not there."""


class RedisBlobs:
    """Chunks in their session's hash of blobs. Raises what the driver raises."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def put(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks."""
        key = self._keys.blobs(folder.session_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for stored, data in blobs:
                pipe.hset(key, stored.name, data)  # type: ignore[arg-type]
            await pipe.execute()

    async def get(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Give chunks."""
        key = self._keys.blobs(folder.session_id)
        found: list[bytes | None] = await self._redis.execute_command("HMGET", key, *(stored.name for stored in names))
        return found

    async def list_all(self, folder: Folder) -> list[bytes]:
        """Give the names of all chunks of a session."""
        found: list[bytes] = await self._redis.execute_command("HKEYS", self._keys.blobs(folder.session_id))
        return found


class ObjectBlobs:
    """Chunks as files or objects below a URL. Every call ends within its deadline, with StoreUnavailable if need be."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """No I/O. Raises InvalidArgument for a URL that it can't use, also because obstore is not installed."""
        self._store = _open(url, timeout_seconds)
        self._directory = Path(urlsplit(url).path) if urlsplit(url).scheme == "file" else None
        self._url = url
        self._timeout = timeout_seconds

    async def check(self, probe: str) -> None:
        """Make sure that objects can be written, read and removed, with one of this name. Raises StoreUnavailable."""
        path = f"probe-{probe}"
        async with self._deadline():
            await self._write([(path, b"skep")])
            found = await self._store.get_async(path)
            await found.bytes_async()
            await self._store.delete_async(path)

    async def put(self, folder: Folder, blobs: Sequence[tuple[StoredName, bytes]]) -> None:
        """Store chunks; they are durable then. Raises StoreUnavailable."""
        async with self._deadline():
            await self._write([(_path(folder, stored), data) for stored, data in blobs])

    async def get(self, folder: Folder, names: Sequence[StoredName]) -> list[bytes | None]:
        """Give chunks. Raises StoreUnavailable."""
        return await self._each([_path(folder, stored) for stored in names], self._get)

    async def delete(self, folder: Folder, names: Sequence[StoredName]) -> None:
        """Remove chunks; one that is not there is passed over. Raises StoreUnavailable."""
        await self._each([_path(folder, stored) for stored in names], self._delete)

    async def delete_all(self, folder: Folder) -> None:
        """Remove all chunks of a session. Raises StoreUnavailable."""
        while True:  # the deadline is for a page: a session may have any number
            async with self._deadline():
                listing = aiter(self._store.list(prefix=str(folder), chunk_size=LIST_PAGE))
                paths = [entry["path"] for entry in await anext(listing, [])]
            if not paths:
                return
            await self._each(paths, self._delete)

    async def list_all(self, folder: Folder) -> list[StoredName]:
        """Give the names of all chunks of a session. Raises StoreUnavailable."""
        async with self._deadline():
            paths = [
                entry["path"]
                async for page in self._store.list(prefix=str(folder), chunk_size=LIST_PAGE)
                for entry in page
            ]
        parts = (path.rpartition("/") for path in paths)
        return [StoredName(bytes.fromhex(name), int(parent.rpartition("/")[2])) for parent, _, name in parts]

    async def _write(self, files: Sequence[tuple[str, bytes]]) -> None:
        if self._directory is not None:  # obstore doesn't flush what it writes
            await asyncio.to_thread(write_durably, self._directory, files)
            return
        free = asyncio.Semaphore(PARALLEL)

        async def put(path: str, data: bytes) -> None:
            async with free:
                await self._store.put_async(path, data)

        async with asyncio.TaskGroup() as group:
            for path, data in files:
                group.create_task(put(path, data), name="chunk")

    async def _get(self, path: str) -> bytes | None:
        try:
            found = await self._store.get_async(path)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def _delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await self._store.delete_async(path)

    async def _each(self, items: Sequence[Any], call: Callable[[Any], Awaitable[T]]) -> list[T]:
        """Do something with each item, some at a time, all within the deadline; gives the results in order."""
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
        except Exception as exc:  # the store's errors derive from Exception and OSError, by its kind
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
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra, needed by those who ask for it
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
            "allow_http": True,
        }  # who names http:// wants it
        return from_url(url, client_options=options, retry_config={"max_retries": 0})  # the caller tries again
    except (BaseError, OSError, ValueError) as exc:
        if isinstance(exc, InvalidArgument):
            raise
        raise InvalidArgument("checkpoint_store", url, _first_line(exc)) from exc
