"""Memory that a worker shares with a session process: the cells to interrupt, and the last cell that has begun.

A signal reaches the main thread even if it holds the GIL in a long computation, while a frame on a socket has to wait
until another thread gets the GIL. But a signal can't name a cell. This page names it, so that a late signal doesn't
interrupt a different cell. It has room for many: a cell that waits in the process, interrupted before the running one,
begins as soon as that one ends, which may be before any thread has read a frame.

The process in turn names the cell that it has begun. The worker reads that without its help: its threads may be stuck.
"""

import mmap
import os
import signal
from struct import Struct
from typing import Final

from skep_shared.protocol.flushed_text import FLUSHED_BYTES, FLUSHED_OFFSET

INTERRUPT_SIGNAL: Final = signal.SIGRTMIN + 8
PAGE_NAME: Final = "skep-interrupt"
# Cells that are with a process have numbers in succession. With at most this many of them no two share a place; above
# that, and for a read during a write, the frame on the socket still interrupts the cell.
PLACES: Final = 128
_CELL: Final = Struct("=QQ")  # seq and attempt
_BEGUN: Final = Struct("=Q")  # seq
_BEGUN_OFFSET: Final = PLACES * _CELL.size
PAGE_BYTES: Final = _BEGUN_OFFSET + _BEGUN.size


class InterruptPage:
    """The shared page. The worker creates it, and the session process maps the descriptor that it inherits."""

    def __init__(self, fd: int) -> None:
        """Map the page of this descriptor, and close the descriptor."""
        self._page = mmap.mmap(fd, PAGE_BYTES)
        os.close(fd)

    def write(self, seq: int, attempt: int) -> None:
        """Store the seq and attempt of a cell to interrupt."""
        _CELL.pack_into(self._page, seq % PLACES * _CELL.size, seq, attempt)

    def has(self, cell: tuple[int, int]) -> bool:
        """Return whether this cell, given by its seq and attempt, is to be interrupted."""
        return _CELL.unpack_from(self._page, cell[0] % PLACES * _CELL.size) == cell

    def record_begin(self, seq: int) -> None:
        """Record in the session process that it begins a cell."""
        _BEGUN.pack_into(self._page, _BEGUN_OFFSET, seq)

    def begun(self) -> int:
        """Return the seq of the last cell that the session process has begun, 0 if none."""
        seq: int = _BEGUN.unpack_from(self._page, _BEGUN_OFFSET)[0]
        return seq

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()


def make_page() -> int:
    """Return the descriptor of new shared memory, all zeros: this page, and the region for flushed text after it."""
    fd = os.memfd_create(PAGE_NAME, os.MFD_CLOEXEC)
    os.ftruncate(fd, FLUSHED_OFFSET + FLUSHED_BYTES)
    return fd
