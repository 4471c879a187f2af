"""A session's cells in seq order, however they arrive.

The body of a short cell is in its mailbox entry. The body of a long cell, or of one that was submitted while no worker
read the mailbox, is read from the session's stream, a page at a time. A cell that has arrived before is skipped. A cell
that would leave a gap makes the stream be read.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgpack
import structlog

from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Commands
from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.errors import SignatureRefused
from skep_shared.foreign_errors import describe_error
from skep_shared.models import CellSpec
from skep_shared.signing import SEAL, Signer, unsealed
from skep_workers.host.broker.backoff import persist
from skep_workers.host.residency.cells.batch_predecessors import Predecessors

log = structlog.get_logger()

PAGE_CELLS: Final = 100


class QueuedCell(NamedTuple):
    """A submitted cell. fault: why its body is refused or can't be read; such a cell ends without running.

    A tuple, because every cell costs one, and a frozen dataclass takes twice as long to make.
    """

    seq: int
    cell_id: str
    spec: CellSpec
    submitted_ms: float
    fault: str = ""
    fault_name: str = "CellUnreadable"


class CellIntake:
    """The cells that wait to run; `known` is the highest seq that has arrived."""

    def __init__(
        self,
        reads: Commands,
        keys: Keys,
        session_id: str,
        *,
        after: int,
        on_cells: Callable[[], None],
        signer: Signer | None = None,
    ) -> None:
        """`on_cells` is called when a cell has arrived, or may run now. With a `signer` only signed cells may run."""
        self._signer = signer
        self._reads = reads
        self._session_id = session_id
        self._stream = keys.cells(session_id)
        self._on_cells = on_cells
        self._wanted = after
        self._wake = asyncio.Event()
        self.predecessors: Final = Predecessors(reads, keys, session_id, self._wake.set)
        self.waiting: deque[QueuedCell] = deque()
        self.known = after

    def offer(self, cell: SubmittedCell) -> None:
        """Add a cell that arrived with its body."""
        if cell.seq == self.known + 1:
            self._add(cell)
            self._on_cells()
        else:
            self.expect(cell.seq)

    def expect(self, seq: int) -> None:
        """Read the cells up to `seq` from the stream, as far as they have not arrived."""
        if seq > self.known:
            self._wanted = max(self._wanted, seq)
            self._wake.set()

    @property
    def is_complete(self) -> bool:
        """Return whether every cell that was announced has arrived."""
        return self.known >= self._wanted

    async def run(self) -> None:
        """Read missing cells from the stream, and look up the predecessors that cells wait for, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if await self.predecessors.look_up():
                self._on_cells()
            while self.known < self._wanted:
                if not await self._read_page():
                    break  # the cell is not in the stream: it has committed already

    async def _read_page(self) -> bool:
        before = self.known
        command = ("XRANGE", self._stream, f"{before + 1}-0", "+", "COUNT", PAGE_CELLS)
        page = await persist(lambda: self._reads.execute_command(*command), "cells")
        for entry_id, flat in page:
            seq = int(entry_id.partition(b"-")[0])
            if seq == self.known + 1:
                self._add_stored(seq, dict(zip(flat[::2], flat[1::2], strict=True)))
        if self.known > before:
            self._on_cells()
        return self.known > before

    def _add_stored(self, seq: int, fields: dict[bytes, bytes]) -> None:
        """Add an entry of the stream; one that is no cell ends as a cell that can't be read, and the next ones run."""
        try:
            cell = SubmittedCell.unpack(self._session_id, seq, fields)
        except (KeyError, ValueError) as exc:
            cell_id = fields.get(b"c", b"").decode("utf-8", "backslashreplace")
            fault = f"its entry in Redis is no cell that this version can read: {describe_error(exc)}"
            self.known = seq
            self.waiting.append(QueuedCell(seq, cell_id, CellSpec(code=""), 0.0, fault))
        else:
            self._add(cell)

    def _add(self, stored: SubmittedCell) -> None:
        seq, cell_id, submitted_ms = stored.seq, stored.cell_id, stored.submitted_ms
        self.known = seq
        signer, body = self._signer, stored.body
        try:
            if signer is not None:
                body = signer.open("cell", self._session_id, cell_id, body)
            cell = QueuedCell(seq, cell_id, CellSpec.unpack(body), submitted_ms)
        except SignatureRefused as exc:
            log.warning("signature.refused", session_id=self._session_id, seq=seq, what=exc.what, reason=exc.reason)
            cell = QueuedCell(seq, cell_id, CellSpec(code=""), submitted_ms, str(exc), type(exc).__name__)
        except (ValueError, msgpack.UnpackException) as exc:
            cell = self._read_again(stored, exc)
        self.waiting.append(cell)

    def _read_again(self, stored: SubmittedCell, exc: Exception) -> QueuedCell:
        """Return a cell whose body could not be read: it may be signed, which a worker without a key ignores."""
        seq, cell_id, body, submitted_ms = stored.seq, stored.cell_id, stored.body, stored.submitted_ms
        if self._signer is None and body[:1] == SEAL[:1]:
            with contextlib.suppress(ValueError, msgpack.UnpackException):
                return QueuedCell(seq, cell_id, CellSpec.unpack(unsealed(body)), submitted_ms)
        # It is of another version, or not written by skep.
        fault = f"its {len(body)} bytes in Redis are no cell that this version can read: {describe_error(exc)}"
        return QueuedCell(seq, cell_id, CellSpec(code=""), submitted_ms, fault)
