"""A session's files: what is below its working directory, kept in its checkpoints with everything else.

Writing is a cell: it has its place among the others, happens exactly once, and is saved with its commit. Reading asks
the session's process, also while a cell runs, and sees what is there at that moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skep_shared.errors import InvalidArgument, NotFound, OperationFailed

if TYPE_CHECKING:
    from skep.cell import Cell
    from skep.session import CellRequest

PIECE_BYTES: Final = 768 * 1024  # below the limit of a cell's inputs
PIECES_AT_A_TIME: Final = 16
MAX_PATH_BYTES: Final = 4000
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
        submit_many: Callable[[Sequence["CellRequest"]], Awaitable[list["Cell"]]],
        operate: Callable[[str, dict[str, object]], Awaitable[Any]],
    ) -> None:
        self._submit_many = submit_many
        self._operate = operate

    async def put(self, path: str, data: bytes | bytearray | memoryview | Path) -> None:
        """Write a file, from bytes or from a local file, making directories as needed; saved when this returns.

        Raises InvalidArgument, the errors of `submit`, and a CellError if the session could not write it.
        """
        name = _check_path(path)
        pieces = await asyncio.to_thread(_pieces, data)
        last = len(pieces) - 1
        for start in range(0, len(pieces), PIECES_AT_A_TIME):
            batch: list[CellRequest] = [
                {
                    "code": f"__skep_files__.put({name!r}, {number * PIECE_BYTES}, is_last={number == last})",
                    "inputs": {"__skep_data__": pieces[number]},
                }
                for number in range(start, min(start + PIECES_AT_A_TIME, last + 1))
            ]
            await self._run(batch)

    async def get(self, path: str) -> bytes:
        """Read a file. Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable."""
        name = _check_path(path)
        for _ in range(READ_TRIES):
            data = await self._read(name)
            if data is not None:
                return data
        raise OperationFailed(f"{path!r} was changed each time while it was read")

    async def list(self) -> list[FileInfo]:
        """Give the session's files, by path; at most 10,000. Raises OperationFailed, NotFound, RedisUnavailable."""
        return [
            FileInfo(found["path"], found["bytes"], datetime.fromtimestamp(found["modified_ns"] / 1e9, UTC))
            for found in await self._operate("files.list", {})
        ]

    async def remove(self, path: str) -> None:
        """Remove a file or a directory; done and saved when this returns. Raises as `put` does."""
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
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise InvalidArgument("path", path, "a path below the session's directory, without . and .., is needed")
    return path


def _pieces(data: object) -> list[bytes]:
    if isinstance(data, Path):
        data = data.read_bytes()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidArgument("data", data, f"bytes or a pathlib.Path is needed, not {type(data).__name__}")
    view = memoryview(data).cast("B")
    return [bytes(view[start : start + PIECE_BYTES]) for start in range(0, max(1, len(view)), PIECE_BYTES)]
