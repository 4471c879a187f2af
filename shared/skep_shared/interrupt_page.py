"""Which cell a worker wants to end, in memory that it shares with the session process.

A signal reaches the main thread of a process that holds the GIL in a long computation, where a frame on a socket waits
for another thread to get it. But a signal names nobody: this page does, so that one which comes late hits no other
cell.
"""

import mmap
import os
import signal
from struct import Struct
from typing import Final

from skep_shared.flushed_text import FLUSHED_BYTES, FLUSHED_OFFSET

INTERRUPT_SIGNAL: Final = signal.SIGRTMIN + 8
PAGE_NAME: Final = "skep-interrupt"
PAGE_BYTES: Final = 16
_CELL: Final = Struct("=QQ")  # seq, attempt; a torn read names no cell, and the frame on the socket is still to come


class InterruptPage:
    """One shared page; the worker makes it, the session process maps the descriptor that it gets."""

    def __init__(self, fd: int) -> None:
        """Map the page of this descriptor, and close that."""
        self._page = mmap.mmap(fd, PAGE_BYTES)
        os.close(fd)

    def write(self, seq: int, attempt: int) -> None:
        """Name the cell that is to end."""
        self._page[:] = _CELL.pack(seq, attempt)

    def read(self) -> tuple[int, int]:
        """Give seq and attempt of the cell that is to end; zeros before the first."""
        seq, attempt = _CELL.unpack(self._page[:])
        return seq, attempt

    def close(self) -> None:
        """Unmap it."""
        self._page.close()


def make_page() -> int:
    """Give the descriptor of a new page of zeros, and of what else is shared behind it."""
    fd = os.memfd_create(PAGE_NAME, os.MFD_CLOEXEC)
    os.ftruncate(fd, FLUSHED_OFFSET + FLUSHED_BYTES)
    return fd
