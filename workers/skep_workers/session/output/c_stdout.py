"""Output of C code through C's own `stdout`: it appears in its place, and in the output of its cell.

For a pipe, C buffers some kilobytes, and writes the rest when the program ends; a session goes on instead. So here C
writes each line when it is complete, as on a terminal, and an incomplete line at the end of the cell. C's `stderr` has
no buffer.
"""

import ctypes
from typing import Any, Final

_LINE_BUFFERED: Final = 1  # _IOLBF

# These calls keep the GIL: they wait for nothing, and releasing it costs more than they do.
_c: Final[Any] = ctypes.PyDLL(None)
_stdout: Final = ctypes.c_void_p.in_dll(_c, "stdout")
_pending: Final[Any] = _c["__fpending"]
_pending.restype = ctypes.c_size_t
_flush: Final[Any] = ctypes.CDLL(None).fflush  # a full pipe is read by another thread of this process


def write_line_by_line() -> None:
    """Make C write each line at once. To be called before C code has printed anything."""
    _c.setvbuf(_stdout, None, _LINE_BUFFERED, 0)


def flush_c_stdout() -> None:
    """Write an incomplete line, unless another thread is printing: then it may wait, and the end of a cell must not."""
    if _pending(_stdout) and _c.ftrylockfile(_stdout) == 0:
        try:
            _flush(_stdout)
        finally:
            _c.funlockfile(_stdout)
