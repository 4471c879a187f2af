"""A session's files: the ones below its working directory, saved in its checkpoints with the rest of its state.

Reads and writes go to the session's worker, also while a cell runs. A read returns the file as it is at that moment. A
write is not a cell: the file is saved with the latest checkpoint, and then appears at once and whole, also for a cell
that runs. Removing a file is a cell, with its place among the others.
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
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from redis.exceptions import RedisError, ResponseError

from skep.cell_request import CellRequest
from skep.link import ShardLink
from skep.operations import PUT
from skep_shared.broker.redis_client.redis_errors import is_out_of_memory
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed, RedisFull, SkepError
from skep_shared.limits import check_path
from skep_shared.states import PAGE_OF_FILES

if TYPE_CHECKING:
    from skep.cell import Cell

PIECE_BYTES: Final = 1024 * 1024  # whole chunks
PIECE_SECONDS: Final = 120  # that a piece waits in Redis
PUT_TRIES: Final = 10
READ_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Up to 1 MiB of a file. bytes: size of the whole file. modified_ns: changes when the file does."""

    data: bytes
    bytes: int
    modified_ns: int


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
        submit_many: Callable[[Sequence[CellRequest]], Awaitable[list["Cell"]]],
        operate: Callable[[str, dict[str, object]], Awaitable[Any]],
        create: Callable[[], Awaitable[object]],
    ) -> None:
        """`create` creates the session if it doesn't exist."""
        self._link = link
        self._submit_many = submit_many
        self._operate = operate
        self._create = create

    async def put(self, path: str, data: bytes | bytearray | memoryview | Path) -> None:
        """Write a file from bytes or from a local file, also while a cell runs; directories are made as needed.

        It replaces an existing file in one step, and is saved when this returns (with durability "none" it is lost with
        the session's process). A local file is read piece by piece. Raises InvalidArgument, SessionClosed, RedisFull,
        RedisUnavailable, and OperationFailed with the reason if the session can't hold or save the file, for example
        because of its quota; nothing is written then.
        """
        check_path("path", path)
        with await asyncio.to_thread(open_data, data) as source:
            await self.put_from(path, source)

    async def put_from(self, path: str, source: IO[bytes]) -> None:
        """Write a file from an open local file, from its beginning to its end. Raises what `put` raises."""
        name = check_path("path", path)
        size = await asyncio.to_thread(source.seek, 0, os.SEEK_END)
        for _ in range(PUT_TRIES):
            try:
                if await self._put(name, source, size):
                    return
            except ResponseError as exc:
                if is_out_of_memory(exc):
                    raise RedisFull(str(exc)) from exc
                raise
        raise OperationFailed(f"putting {path!r}: the session moved to another worker or process {PUT_TRIES} times")

    async def _put(self, path: str, source: IO[bytes], size: int) -> bool:
        """Send a file; False if the sent pieces were lost with the session's process, and all must be sent again."""
        upload = uuid.uuid4().hex
        offset = 0
        question: dict[str, object] = {"upload": upload, "path": path, "offset": 0, "bytes": size, "size": 0}
        await asyncio.to_thread(source.seek, 0)
        try:
            while True:
                data = await asyncio.to_thread(source.read, min(PIECE_BYTES, size - offset))
                if len(data) < min(PIECE_BYTES, size - offset):
                    raise OperationFailed(f"putting {path!r}: it has become shorter than its {size} bytes meanwhile")
                question |= {"offset": offset, "size": len(data)}
                answer = await self._send_piece(upload, question, data)
                offset += len(data)
                if answer != offset:
                    return False
                if offset == size:
                    return True
        except (SkepError, RedisError):
            await self._abandon(question)
            raise

    async def _send_piece(self, upload: str, question: dict[str, object], data: bytes) -> Any:
        """Send one piece, under a key of its own: a repeated request must not read the next piece."""
        name = f"{upload}:{question['offset']}"
        key = self._link.keys.upload(name)
        await self._store(key, self._sealed(data, name))
        try:
            return await self._operate(PUT, question)
        except NotFound:
            await self._create()
            return await self._operate(PUT, question)
        finally:
            with contextlib.suppress(RedisError, OSError):  # tried once: it has a TTL
                await self._link.redis.delete(key)

    async def _abandon(self, question: dict[str, object]) -> None:
        """Ask the worker to remove the pieces that have arrived; a worker that isn't reached removes them later."""
        if question["offset"]:
            with contextlib.suppress(SkepError):
                await self._operate(PUT, question | {"abandon": True})

    def _sealed(self, data: bytes, name: str) -> bytes:
        """Return a piece of a file as it is stored, signed if there is a key. name: its upload and offset."""
        signer = self._link.signer
        return data if signer is None else signer.seal("upload", "", name, data)

    async def _store(self, key: str, data: bytes) -> None:
        await self._link.persist(lambda: self._link.redis.set(key, data, ex=PIECE_SECONDS))

    async def get(self, path: str) -> bytes:
        """Read a file. Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable."""
        name = check_path("path", path)
        for _ in range(READ_TRIES):
            data = await self._read(name)
            if data is not None:
                return data
        raise OperationFailed(f"{path!r} was changed each time while it was read")

    async def read_from(self, path: str, offset: int) -> FilePiece:
        """Read a piece of a file from an offset on, in bytes. Raises what `get` raises."""
        name = check_path("path", path)
        found = await self._operate("files.read", {"path": name, "offset": offset})
        if found is None:
            raise NotFound("file", path)
        return FilePiece(found["data"], found["bytes"], found["modified_ns"])

    async def list(self) -> list[FileInfo]:
        """Return the session's files, by path. Raises OperationFailed, NotFound, RedisUnavailable."""
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
        """Remove a file or a directory, by a cell; done and saved when this returns.

        Raises InvalidArgument, the errors of `submit`, and a CellError if there is no such file.
        """
        name = check_path("path", path)
        await self._run([{"code": f"__skep_files__.remove({name!r})"}])

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


def open_data(data: object) -> BinaryIO:
    """Open the data to send. Raises InvalidArgument, OSError."""
    if isinstance(data, Path):
        return data.open("rb")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgument("data", data, f"bytes or a pathlib.Path is needed, not {type(data).__name__}")
    return io.BytesIO(data)
