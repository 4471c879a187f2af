"""A session's cells in seq order, whichever way they come.

A short cell's body rides in the mailbox entry; a long one, or one that came while nobody listened, is read from the
session's stream, a page at a time. What has been seen is passed over, what would leave a gap makes the stream be read.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from skep_shared.foreign_errors import describe_error
from skep_shared.keys import Keys
from skep_shared.lane import Commands
from skep_shared.models import CellSpec
from skep_workers.host.backoff import persist

PAGE_CELLS: Final = 100


@dataclass(frozen=True, slots=True)
class QueuedCell:
    """A submitted cell; with a `fault` its body can't be read, and it ends without running."""

    seq: int
    cell_id: str
    spec: CellSpec
    submitted_ms: float
    fault: str = ""


class CellIntake:
    """Cells that wait to be run; `known` is the highest seq that has come in."""

    def __init__(
        self, reads: Commands, keys: Keys, session_id: str, *, after: int, on_cells: Callable[[], None]
    ) -> None:
        self._reads = reads
        self._stream = keys.cells(session_id)
        self._on_cells = on_cells
        self._wanted = after
        self._wake = asyncio.Event()
        self.waiting: deque[QueuedCell] = deque()
        self.known = after

    def offer(self, seq: int, cell_id: str, body: bytes, submitted_ms: float) -> None:
        """Take a cell that came with its body."""
        if seq == self.known + 1:
            self._take(seq, cell_id, body, submitted_ms)
            self._on_cells()
        else:
            self.expect(seq)

    def expect(self, seq: int) -> None:
        """Make sure that the cells up to `seq` come in."""
        if seq > self.known:
            self._wanted = max(self._wanted, seq)
            self._wake.set()

    @property
    def is_complete(self) -> bool:
        """Tell whether every cell that was announced has come in."""
        return self.known >= self._wanted

    async def run(self) -> None:
        """Read the stream whenever it has more than was offered; until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.known < self._wanted:
                if not await self._read_page():
                    break  # trimmed or not there: a cell that has committed already

    async def _read_page(self) -> bool:
        before = self.known
        command = ("XRANGE", self._stream, f"{before + 1}-0", "+", "COUNT", PAGE_CELLS)
        page = await persist(lambda: self._reads.execute_command(*command), "cells")
        for entry_id, flat in page:
            seq = int(entry_id.partition(b"-")[0])
            if seq == self.known + 1:
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                self._take(seq, fields[b"c"].decode(), fields[b"b"], float(fields[b"t"]))
        if self.known > before:
            self._on_cells()
        return self.known > before

    def _take(self, seq: int, cell_id: str, body: bytes, submitted_ms: float) -> None:
        self.known = seq
        try:
            cell = QueuedCell(seq, cell_id, CellSpec.unpack(body), submitted_ms)
        except (ValueError, msgpack.UnpackException) as exc:  # of another version, or nobody of ours wrote it
            fault = f"its {len(body)} bytes in Redis are no cell that this version can read: {describe_error(exc)}"
            cell = QueuedCell(seq, cell_id, CellSpec(code=""), submitted_ms, fault)
        self.waiting.append(cell)


def cell_of_entry(fields: dict[bytes, Any]) -> tuple[int, str, bytes, float]:
    """Give what `offer` takes from a mailbox entry."""
    return int(fields[b"q"]), fields[b"c"].decode(), fields[b"b"], float(fields[b"t"])
