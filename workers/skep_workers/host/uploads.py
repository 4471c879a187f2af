"""Files that a service puts into a session: they are no cells, and come also while one runs.

A piece at a time is written by the session's process into a part, and stored as chunks. When all are there, a
checkpoint is made of the latest one with the file in it, and then the part gets its name. So a file is saved before it
is there, and what goes wrong before that leaves nothing.

A cell that ended before the file was there may have its state saved after it: without the file. So what such snapshots
bring gets it too.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from skep_shared.content_chunks import split
from skep_shared.errors import OperationFailed, StoreUnavailable
from skep_shared.values import decode_value
from skep_workers.host.answers import OperationRequest
from skep_workers.host.backoff import persist
from skep_workers.host.checkpoints import SavedState
from skep_workers.host.departure import StayParts
from skep_workers.host.facilities import Host
from skep_workers.host.manifest_files import FilesChange, directory_entry, file_entry
from skep_workers.host.operations import HostOperations, ProcessGone
from skep_workers.host.process import SessionProcess

log = structlog.get_logger()

KIND: Final = "files.put"
AGAIN: Final = "again"  # the answer to a piece of a file whose other pieces have gone with their process
MOST_WAITING: Final = 100
MOST_OPEN: Final = 16  # files; those that nobody goes on with are the oldest ones
STEP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a client says of a piece: of `size` bytes, at `offset` in a file that is to have `total` bytes."""

    upload: str
    path: str
    offset: int
    total: int
    size: int

    @classmethod
    def of(cls, payload: bytes) -> "_Piece":
        """Read it. Raises OperationFailed for what is of another version, or no client of ours wrote."""
        try:
            question = decode_value(payload)
            piece = cls(*(question[name] for name in ("upload", "path", "offset", "bytes", "size")))
            if not (piece.upload.isalnum() and piece.path and 0 <= piece.offset <= piece.total and piece.size >= 0):
                raise ValueError(piece)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise OperationFailed(f"no piece of a file that this version can read: {exc!r}"[:500]) from exc
        return piece


@dataclass(slots=True)
class _Upload:
    """A file on its way. made: directories that were made for it."""

    process: SessionProcess
    names: list[bytes] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)  # chunks that are kept for its sake alone
    received: int = 0
    made: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Placed:
    """A file that is in the directory, or about to be. until: the last cell whose state may have been read before."""

    change: FilesChange
    until: float = float("inf")


class Uploads:
    """The files on their way into one session; handled one after the other by a task of the stay."""

    def __init__(self, host: Host, parts: StayParts, operations: HostOperations, on_change: Callable[[], None]) -> None:
        """`on_change` is called when a process is needed."""
        self._host = host
        self._runs, self._journal, self._keeping = parts.runs, parts.journal, parts.keeping
        self._operations = operations
        self._on_change = on_change
        self._queue: asyncio.Queue[OperationRequest] = asyncio.Queue(MOST_WAITING)
        self._current: OperationRequest | None = None
        self._open: OrderedDict[str, _Upload] = OrderedDict()
        self._placed: list[_Placed] = []
        self._process: SessionProcess | None = None
        self._refusal = ""
        self._handled = ""  # the upload that a piece is handled of
        self._has_process = asyncio.Event()

    def __len__(self) -> int:
        return self._queue.qsize() + (self._current is not None)

    def add(self, request: OperationRequest) -> None:
        """Take a piece of a file."""
        try:
            self._queue.put_nowait(request)
        except asyncio.QueueFull:
            self._operations.refuse(request, f"{MOST_WAITING} pieces of files are waiting already")
        self._on_change()

    def attach(self, process: SessionProcess) -> None:
        """Take the process that has the session's directory."""
        self._process = process
        self._placed.clear()  # what it has begun with has them
        self._refusal = ""
        self._has_process.set()

    def detach(self) -> None:
        """The process has ended, and its directory with it; what it has saved last may still come."""
        self._process = None
        self._has_process.clear()
        for name in [name for name in self._open if name != self._handled]:
            self._forget(name)

    def fail(self, reason: str) -> None:
        """Refuse what waits for a process: none can be started."""
        self._refusal = reason
        self._has_process.set()

    def take_all(self) -> list[OperationRequest]:
        """Return what has not been answered: the stay ends."""
        left = [] if self._current is None else [self._current]
        self._current = None
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        return left

    def amend(self, state: SavedState) -> SavedState:
        """Return what a snapshot has brought with the files that came after it was taken."""
        if not state.manifest or not self._placed:
            return state
        self._placed = [placed for placed in self._placed if placed.until > self._keeping.head.seq]
        for placed in self._placed:
            if state.seq <= placed.until:
                state = self._keeping.with_files(state, placed.change)
        return state

    async def run(self) -> None:
        """Handle pieces until cancelled. Raises Fenced, EventGap."""
        while True:
            request = self._current = await self._queue.get()
            try:
                answer = await self._take_piece(request)
            except (OperationFailed, StoreUnavailable) as exc:
                self._operations.refuse(request, _reason(exc))
            except ProcessGone:
                self._operations.answer(request, AGAIN)
            else:
                self._operations.answer(request, answer)
            self._current = None

    async def _take_piece(self, request: OperationRequest) -> object:
        piece = _Piece.of(request.payload)
        process = await self._ready()
        self._handled = piece.upload
        try:
            return await self._add_piece(piece, process)
        finally:
            self._handled = ""

    async def _add_piece(self, piece: _Piece, process: SessionProcess) -> object:
        name, offset = piece.upload, piece.offset
        if not offset:
            self._forget(name)
            while len(self._open) >= MOST_OPEN:
                self._forget(next(iter(self._open)))
            self._open[name] = _Upload(process)
        upload = self._open.get(name)
        if upload is None or upload.received != offset:
            return AGAIN
        self._open.move_to_end(name)
        try:
            await self._receive(upload, piece)
            if upload.received < piece.total:
                return upload.received
            await self._save(upload, piece)
        except (OperationFailed, StoreUnavailable, ProcessGone):
            await self._undo(upload, name)
            raise
        del self._open[name]
        return upload.received

    async def _ready(self) -> SessionProcess:
        while True:
            await self._has_process.wait()
            if self._process is not None:
                return self._process
            self._has_process.clear()
            raise OperationFailed(self._refusal)

    async def _receive(self, upload: _Upload, piece: _Piece) -> None:
        key = self._host.scripts.keys.upload(piece.upload)
        data = await persist(lambda: self._host.reads.execute_command("GET", key), "a piece of a file")
        if data is None or len(data) != piece.size:
            raise OperationFailed("a piece of the file is not there any more: put it again")
        chunks = {name: bytes(part) for name, part in split(data)}
        upload.names += [name for name, _ in split(data)]
        question = {
            "upload": piece.upload,
            "path": piece.path,
            "offset": piece.offset,
            "bytes": piece.total,
            "data": data,
        }
        await self._ask(upload.process, "files.write", question)
        upload.kept += chunks
        await self._keeping.store_chunks(chunks)
        upload.received += len(data)

    async def _save(self, upload: _Upload, piece: _Piece) -> None:
        """Save the file, and then give it its name."""
        path, which = piece.path, {"upload": piece.upload, "path": piece.path}
        ready = await self._ask(upload.process, "files.prepare", which | {"bytes": upload.received})
        upload.made = ready["made"]
        modified_ns = time.time_ns()
        entry = file_entry(path, ready["mode"], modified_ns, upload.received, upload.names)
        change = FilesChange(path, entry, [directory_entry(*found) for found in ready["directories"]])
        placed = _Placed(change)
        if not self._runs.is_kept:
            await self._ask(upload.process, "files.place", which | {"modified_ns": modified_ns, "files": []})
            self._keeping.release(upload.kept)
            return
        # Registered first: a snapshot that comes after the checkpoint is to have it too.
        self._placed = [*(other for other in self._placed if other.change.path != path), placed]
        undo = await self._amend(upload, placed)
        try:
            files = [*change.directories, entry]
            question = which | {"modified_ns": modified_ns, "files": files}
            placed.until = await self._ask(upload.process, "files.place", question)
        except ProcessGone:
            return  # the next one begins with it
        except OperationFailed:  # a cell has made something else of its directory
            placed.change = undo
            await self._amend(upload, placed)
            placed.until = self._runs.ended_seq
            raise

    async def _amend(self, upload: _Upload, placed: _Placed) -> FilesChange:
        undo: FilesChange | None = None

        async def make() -> SavedState:
            nonlocal undo
            state, undo = await self._keeping.amended(placed.change, upload.kept)
            upload.kept = []  # the checkpoint keeps them
            return state

        try:
            await self._journal.amend(make)
        except OperationFailed:
            self._placed.remove(placed)
            raise
        assert undo is not None  # noqa: S101 - the checkpoint has been made
        return undo

    async def _undo(self, upload: _Upload, name: str) -> None:
        self._forget(name)
        if self._process is upload.process:
            try:
                await self._ask(upload.process, "files.drop", {"upload": name, "made": upload.made})
            except (OperationFailed, ProcessGone) as exc:
                log.warning("upload.not_undone", error=repr(exc))

    def _forget(self, name: str) -> None:
        upload = self._open.pop(name, None)
        if upload is not None:
            self._keeping.release(upload.kept)

    async def _ask(self, process: SessionProcess, kind: str, question: dict[str, Any]) -> Any:
        if process is not self._process:
            raise ProcessGone
        return await self._operations.call(process.control, kind, question, STEP_SECONDS)


def _reason(exc: OperationFailed | StoreUnavailable) -> str:
    """Return what an error says, without the words that the client will put before it."""
    return exc.reason if isinstance(exc, OperationFailed) else str(exc)
