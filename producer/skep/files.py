"""A session's files: what is below its working directory, kept in its checkpoints with everything else.

Reading and writing ask the session's worker, also while a cell runs; what is read is what is there at that moment. What
is written is no cell: the file is saved with the latest checkpoint and then there, whole, also for a cell that runs.
Removing is a cell: it has its place among the others.
"""

import asyncio
import contextlib
import io
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from redis.exceptions import RedisError, ResponseError

from skep.link import ShardLink
from skep.operations import PUT
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed, RedisFull
from skep_shared.redis_errors import is_out_of_memory
from skep_shared.states import PAGE_OF_FILES

if TYPE_CHECKING:
    from skep.cell import Cell
    from skep.session import CellRequest

PIECE_BYTES: Final = 1024 * 1024  # whole chunks
PIECE_SECONDS: Final = 120  # that a piece waits in Redis
PUT_TRIES: Final = 10
MAX_PATH_BYTES: Final = 4000
MAX_NAME_BYTES: Final = 255
READ_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file below the session's directory."""

    path: str
    bytes: int
    modified_at: datetime


class SessionFiles:
    """`session.files`: the files of one session."""

    def __init__(
        self,
        link: ShardLink,
        submit_many: Callable[[Sequence["CellRequest"]], Awaitable[list["Cell"]]],
        operate: Callable[[str, dict[str, object]], Awaitable[Any]],
        create: Callable[[], Awaitable[object]],
    ) -> None:
        """`create` makes the session if there is none of its id."""
        self._link = link
        self._submit_many = submit_many
        self._operate = operate
        self._create = create

    async def put(self, path: str, data: bytes | bytearray | memoryview | Path) -> None:
        """Write a file, from bytes or from a local file, making directories as needed, also while a cell runs.

        It takes the place of another one at once, and is saved when this returns (with durability "none" it goes with
        the session's process). A local file is read piece by piece. Raises InvalidArgument, SessionClosed, RedisFull,
        RedisUnavailable, and OperationFailed with the reason if the session can't hold or save it: over its quota, say;
        nothing of it is there then.
        """
        name = _check_path(path)
        with await asyncio.to_thread(_opened, data) as source:
            size = await asyncio.to_thread(source.seek, 0, os.SEEK_END)
            for _ in range(PUT_TRIES):
                try:
                    if await self._put(name, source, size):
                        return
                except ResponseError as exc:
                    if is_out_of_memory(exc):
                        raise RedisFull(str(exc)) from exc
                    raise
        raise OperationFailed(f"putting {path!r}: the session went to another worker or process {PUT_TRIES} times")

    async def _put(self, path: str, source: BinaryIO, size: int) -> bool:
        """Send a file; False if what was sent has gone with its process, and all is to be sent again."""
        upload = uuid.uuid4().hex
        key, offset = self._link.keys.upload(upload), 0
        await asyncio.to_thread(source.seek, 0)
        try:
            while True:
                data = await asyncio.to_thread(source.read, min(PIECE_BYTES, size - offset))
                if len(data) < min(PIECE_BYTES, size - offset):
                    raise OperationFailed(f"putting {path!r}: it has become shorter than its {size} bytes meanwhile")
                await self._store(key, data)
                question: dict[str, object] = {
                    "upload": upload,
                    "path": path,
                    "offset": offset,
                    "bytes": size,
                    "size": len(data),
                }
                try:
                    answer = await self._operate(PUT, question)
                except NotFound:
                    await self._create()
                    answer = await self._operate(PUT, question)
                offset += len(data)
                if answer != offset:
                    return False
                if offset == size:
                    return True
        finally:
            with contextlib.suppress(RedisError, OSError):  # tried once: it has a TTL
                await self._link.redis.delete(key)

    async def _store(self, key: str, data: bytes) -> None:
        await self._link.persist(lambda: self._link.redis.set(key, data, ex=PIECE_SECONDS))

    async def get(self, path: str) -> bytes:
        """Read a file. Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable."""
        name = _check_path(path)
        for _ in range(READ_TRIES):
            data = await self._read(name)
            if data is not None:
                return data
        raise OperationFailed(f"{path!r} was changed each time while it was read")

    async def list(self) -> list[FileInfo]:
        """Give the session's files, by path. Raises OperationFailed, NotFound, RedisUnavailable."""
        files: list[FileInfo] = []
        while True:
            page = await self._operate("files.list", {"start": len(files)} if files else {})
            files += [
                FileInfo(found["path"], found["bytes"], datetime.fromtimestamp(found["modified_ns"] / 1e9, UTC))
                for found in page
            ]
            if len(page) < PAGE_OF_FILES:
                return files

    async def remove(self, path: str) -> None:
        """Remove a file or a directory, with a cell; done and saved when this returns.

        Raises InvalidArgument, the errors of `submit`, and a CellError if it is not there.
        """
        await self._run([{"code": f"__skep_files__.remove({_check_path(path)!r})"}])

    async def _run(self, batch: "Sequence[CellRequest]") -> None:
        for cell in await self._submit_many(batch):
            (await cell.outcome()).raise_for_status()

    async def _read(self, path: str) -> bytes | None:
        data, modified_ns = bytearray(), None
        while True:
            found = await self._operate("files.read", {"path": path, "offset": len(data)})
            if found is None:
                raise NotFound("file", path)
            if modified_ns not in {None, found["modified_ns"]}:
                return None
            modified_ns = found["modified_ns"]
            data += found["data"]
            if len(data) >= found["bytes"] or not found["data"]:
                return bytes(data)


def _check_path(path: object) -> str:
    if not isinstance(path, str) or not path or "\0" in path or len(path.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        raise InvalidArgument("path", path, f"a str of 1 to {MAX_PATH_BYTES} bytes without NUL is needed")
    if path.encode("utf-8", "replace").decode() != path:
        raise InvalidArgument("path", path, "valid Unicode is needed")
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise InvalidArgument("path", path, "a path below the session's directory, without . and .., is needed")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise InvalidArgument("path", path, f"names of at most {MAX_NAME_BYTES} bytes are needed")
    return path


def _opened(data: object) -> BinaryIO:
    """Open what is to be sent. Raises InvalidArgument, OSError."""
    if isinstance(data, Path):
        return data.open("rb")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgument("data", data, f"bytes or a pathlib.Path is needed, not {type(data).__name__}")
    return io.BytesIO(data)
