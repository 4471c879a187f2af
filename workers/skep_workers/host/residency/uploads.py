"""Files that a client puts into a session. Putting a file is no cell, so it works while a cell runs.

A file arrives in pieces. The session's process writes each piece to a temporary file, and the host stores it as chunks.
When all pieces are stored, a checkpoint is made from the latest one with the file added, and then the temporary file
gets its name. So a file is saved before it is visible, and a failure before that leaves nothing.

A cell that ended before the file was visible may have its state saved afterwards, without the file. So the file is
added to such snapshots too.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.checkpoints.content_chunks import split
from skep_shared.checkpoints.manifest import pack_entries
from skep_shared.errors import OperationFailed, RedisFull, SignatureRefused, StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.signing import SEAL_BYTES, opened
from skep_shared.values import decode_value
from skep_workers.host.broker.backoff import persist
from skep_workers.host.checkpoint.file_change import FileChange, directory_entry, file_entry
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.runs import CellRuns
from skep_workers.host.residency.checkpointing import HostCheckpoints
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.journal import Journal
from skep_workers.host.residency.lifecycle import Lifecycle
from skep_workers.host.residency.operations import HostOperations, ProcessGone

log = structlog.get_logger()

KIND: Final = "files.put"
AGAIN: Final = "again"  # the answer to a piece of a file whose other pieces were lost with their process
MOST_WAITING: Final = 100
MOST_OPEN: Final = 16  # files; abandoned ones become the oldest, and are forgotten first
STEP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece as the client describes it: `size` bytes at `offset` of a file of `total` bytes.

    is_abandoned: no more pieces follow, and those that have arrived are to be removed.
    """

    upload: str
    path: str
    offset: int
    total: int
    size: int
    is_abandoned: bool = False

    @classmethod
    def of(cls, payload: bytes) -> "_Piece":
        """Unpack a piece. Raise OperationFailed if another version, or another program, wrote it."""
        try:
            question = decode_value(payload)
            piece = cls(*(question[name] for name in ("upload", "path", "offset", "bytes", "size")))
            piece = replace(piece, is_abandoned=bool(question.get("abandon")))
            if not (piece.upload.isalnum() and piece.path and 0 <= piece.offset <= piece.total and piece.size >= 0):
                raise ValueError("a value is out of its range")
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise OperationFailed(
                "this is no piece of a file: upload (letters and digits), path, offset, bytes and size are needed, "
                f"with 0 <= offset <= bytes; {type(exc).__name__}: {exc}"[:500]
            ) from exc
        return piece


@dataclass(slots=True)
class _Upload:
    """A file that is arriving in pieces. received: bytes so far. made: directories that were made for it."""

    process: SessionProcess
    names: list[bytes] = field(default_factory=list)  # of its chunks, in order
    kept: list[bytes] = field(default_factory=list)  # chunks that only this file needs
    received: int = 0
    made: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Placed:
    """A file that is in the directory, or about to be. until: the last cell whose snapshot may be without it."""

    change: FileChange
    until: float = float("inf")


class Uploads:
    """The files that arrive for one session; a task of the residency handles them one after the other."""

    def __init__(
        self,
        host: Host,
        runs: CellRuns,
        journal: Journal,
        checkpoints: HostCheckpoints,
        operations: HostOperations,
        lifecycle: Lifecycle,
    ) -> None:
        self._host = host
        self._runs, self._journal, self._checkpoints = runs, journal, checkpoints
        self._operations = operations
        self._lifecycle = lifecycle
        self._queue: asyncio.Queue[OperationRequest] = asyncio.Queue(MOST_WAITING)
        self._current: OperationRequest | None = None
        self._open: OrderedDict[str, _Upload] = OrderedDict()
        self._placed: list[_Placed] = []
        self._process: SessionProcess | None = None
        self._refusal = ""
        self._handled = ""  # the upload whose piece is being handled
        self._has_process = asyncio.Event()

    def __len__(self) -> int:
        return self._queue.qsize() + (self._current is not None)

    def add(self, request: OperationRequest) -> None:
        """Add a piece of a file. It may need a process."""
        try:
            self._queue.put_nowait(request)
        except asyncio.QueueFull:
            self._operations.refuse(request, f"{MOST_WAITING} pieces of files are waiting already")
        self._lifecycle.notify()

    def attach(self, process: SessionProcess) -> None:
        """Use the process that has the session's directory."""
        self._process = process
        self._placed.clear()  # its directory was restored with them
        self._refusal = ""
        self._has_process.set()

    def detach(self) -> None:
        """Forget the process, which has ended, and its directory; its last snapshots may still arrive."""
        self._process = None
        self._has_process.clear()
        for name in [name for name in self._open if name != self._handled]:
            self._forget(name)

    def fail(self, reason: str) -> None:
        """Refuse the pieces that wait for a process: none can be started."""
        self._refusal = reason
        self._has_process.set()

    def remove_all(self) -> list[OperationRequest]:
        """Remove and return the requests that are not answered: the residency ends."""
        left = [] if self._current is None else [self._current]
        self._current = None
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        return left

    def amend(self, state: SavedState) -> SavedState:
        """Return the state of a snapshot with the files that were put after it was taken."""
        if not state.manifest or not self._placed:
            return state
        self._placed = [placed for placed in self._placed if placed.until > self._checkpoints.head.seq]
        for placed in self._placed:
            if state.seq <= placed.until:
                try:
                    state = self._checkpoints.with_files(state, placed.change)
                except ValueError as exc:  # a session process may send anything as the rest of a manifest
                    return SavedState(state.seq, failure=f"a file can't be added to its files: {exc}")
        return state

    async def run(self) -> None:
        """Handle pieces until cancelled. Raises Fenced, EventGap."""
        while True:
            request = self._current = await self._queue.get()
            try:
                answer = await self._handle(request)
            except SignatureRefused as exc:
                self._host.answers.refuse_signature(request, exc.what, exc.reason)
            except (OperationFailed, StoreUnavailable) as exc:
                self._operations.refuse(request, _reason(exc))
            except RedisFull as exc:
                self._operations.refuse_full(request, exc.reason)
            except ProcessGone:
                self._operations.answer(request, AGAIN)
            else:
                self._operations.answer(request, answer)
            self._current = None

    async def _handle(self, request: OperationRequest) -> object:
        piece = _Piece.of(request.payload)
        process = await self._wait_for_process()
        self._handled = piece.upload
        try:
            return await self._add_piece(piece, process)
        finally:
            self._handled = ""

    async def _add_piece(self, piece: _Piece, process: SessionProcess) -> object:
        name, offset = piece.upload, piece.offset
        if piece.is_abandoned:
            if name in self._open:
                await self._undo(self._open[name], name)
            return offset
        if not offset and name not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._forget(next(iter(self._open)))
            self._open[name] = _Upload(process)
        upload = self._open.get(name)
        if upload is not None and upload.received and upload.received == offset + piece.size:
            return upload.received  # the client repeats its request after a change of owners
        if upload is None or upload.received != offset:
            return AGAIN
        self._open.move_to_end(name)
        try:
            await self._receive(upload, piece)
            if upload.received < piece.total:
                return upload.received
            await self._save(upload, piece)
        except (OperationFailed, StoreUnavailable, RedisFull, ProcessGone, SignatureRefused):
            await self._undo(upload, name)
            raise
        del self._open[name]
        return upload.received

    async def _wait_for_process(self) -> SessionProcess:
        while True:
            await self._has_process.wait()
            if self._process is not None:
                return self._process
            self._has_process.clear()
            raise OperationFailed(self._refusal)

    async def _receive(self, upload: _Upload, piece: _Piece) -> None:
        name = f"{piece.upload}:{piece.offset}"
        key = self._host.scripts.keys.upload(name)
        data = await persist(lambda: self._host.reads.execute_command("GET", key), "a piece of a file")
        data = self._opened(name, data, piece.size)
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
        await self._checkpoints.store_chunks(chunks)
        upload.kept += chunks
        upload.received += len(data)

    def _opened(self, name: str, stored: bytes | None, size: int) -> bytes:
        """Return a piece of this size without its seal. Raises OperationFailed, SignatureRefused."""
        if stored is None:
            raise OperationFailed("a piece of the file is not in Redis any more: put the file again")
        # A file may begin like a seal. Without a key, only the size shows whether there is one.
        if self._host.scripts.signer is not None or len(stored) == size + SEAL_BYTES:
            stored = opened(self._host.scripts.signer, "upload", "", name, stored)
        if len(stored) != size:
            raise OperationFailed(
                f"a piece of the file has {len(stored)} bytes in Redis, not {size}: put the file again"
            )
        return stored

    async def _save(self, upload: _Upload, piece: _Piece) -> None:
        """Save the file, and then rename it to its path."""
        path, which = piece.path, {"upload": piece.upload, "path": piece.path}
        ready = await self._ask(upload.process, "files.prepare", which | {"bytes": upload.received})
        upload.made = ready["made"]
        modified_ns = time.time_ns()
        entry = file_entry(path, ready["mode"], modified_ns, upload.received, upload.names)
        change = FileChange(path, entry, [directory_entry(*found) for found in ready["directories"]])
        placed = _Placed(change)
        if not self._runs.unsaved.has_checkpoints:
            await self._ask(upload.process, "files.place", which | {"modified_ns": modified_ns, "files": []})
            self._checkpoints.release(upload.kept)
            return
        # Registered first: a snapshot that arrives after the checkpoint needs the file too.
        self._placed = [*(other for other in self._placed if other.change.path != path), placed]
        undo = await self._amend(upload, placed)
        try:
            files = pack_entries([*change.directories, entry])
            question = which | {"modified_ns": modified_ns, "files": files}
            placed.until = await self._ask(upload.process, "files.place", question)
        except ProcessGone:
            return  # the next process is restored with the file
        except OperationFailed:  # a cell has changed its directory
            placed.change = undo
            await self._amend(upload, placed)
            placed.until = self._runs.window.next_seq - 1
            raise

    async def _amend(self, upload: _Upload, placed: _Placed) -> FileChange:
        undo: FileChange | None = None

        async def make() -> SavedState:
            nonlocal undo
            state, undo = await self._checkpoints.amended(placed.change, upload.kept)
            upload.kept = []  # the checkpoint needs them now
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
                log.warning("upload.not_undone", error=describe_error(exc))

    def _forget(self, name: str) -> None:
        upload = self._open.pop(name, None)
        if upload is not None:
            self._checkpoints.release(upload.kept)

    async def _ask(self, process: SessionProcess, kind: str, question: dict[str, Any]) -> Any:
        if process is not self._process:
            raise ProcessGone
        return await self._operations.call(process.control, kind, question, STEP_SECONDS)


def _reason(exc: OperationFailed | StoreUnavailable) -> str:
    """Return the text of an error without the prefix that the client adds."""
    return exc.reason if isinstance(exc, OperationFailed) else str(exc)
