"""The files of a session of a MemoryCluster: bytes by path, which cells don't see."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from skep.files import PIECE_BYTES, FileInfo, FilePiece, SessionFiles, open_data
from skep.testing.memory_record import SessionRecord
from skep.testing.refusals import refuses_the_rest_of
from skep_shared.errors import CellFailed, NotFound, SessionClosed
from skep_shared.limits import check_path
from skep_shared.states import SessionState


@refuses_the_rest_of(SessionFiles, inherited=frozenset())
class MemoryFiles(SessionFiles):
    """`session.files` of a session in memory."""

    def __init__(
        self, session_id: str, find: Callable[[], SessionRecord | None], create: Callable[[], SessionRecord]
    ) -> None:
        """`find` returns the session's record, `create` makes it if there is none."""
        self._session_id = session_id
        self._find = find
        self._create_record = create

    async def put(self, path: str, data: bytes | bytearray | memoryview | Path) -> None:
        """Write a file from bytes or from a local file. Raises InvalidArgument, SessionClosed."""
        name = check_path("path", path)
        with await asyncio.to_thread(open_data, data) as source:
            await self.put_from(name, source)

    async def put_from(self, path: str, source: IO[bytes]) -> None:
        """Write a file from an open local file. Raises InvalidArgument, SessionClosed."""
        name = check_path("path", path)
        await asyncio.to_thread(source.seek, 0)
        content = await asyncio.to_thread(source.read)
        record = self._create_record()
        if record.state is not SessionState.OPEN:
            raise SessionClosed(self._session_id)
        record.files[name] = (bytes(content), datetime.now(UTC))

    async def get(self, path: str) -> bytes:
        """Read a file. Raises InvalidArgument, NotFound."""
        name = check_path("path", path)
        found = self._files().get(name)
        if found is None:
            raise NotFound("file", name)
        return found[0]

    async def read_from(self, path: str, offset: int) -> FilePiece:
        """Read a file from an offset on. Raises InvalidArgument, NotFound."""
        data = (await self.get(path))[offset : offset + PIECE_BYTES]
        content, modified_at = self._files()[path]
        return FilePiece(data, len(content), int(modified_at.timestamp() * 1e9))

    async def list(self) -> list[FileInfo]:
        """Return the session's files, by path. Raises NotFound."""
        return [FileInfo(path, len(data), modified_at) for path, (data, modified_at) in sorted(self._files().items())]

    async def remove(self, path: str) -> None:
        """Remove a file or a directory. Raises InvalidArgument, and CellFailed if there is no such file."""
        name = check_path("path", path)
        files = self._files()
        removed = [known for known in files if known == name or known.startswith(f"{name}/")]
        if not removed:
            raise CellFailed(self._session_id, "", "failed", "FileNotFoundError", name, "")
        for known in removed:
            del files[known]

    def _files(self) -> dict[str, tuple[bytes, datetime]]:
        record = self._find()
        if record is None:
            raise NotFound("session", self._session_id)
        return record.files
