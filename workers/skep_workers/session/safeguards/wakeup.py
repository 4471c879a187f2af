"""Waking another thread without switching to it: a write to its descriptor by a caller that keeps the GIL.

os.write, os.eventfd_write and socket.send release the GIL, and the woken thread then runs before the caller continues.
"""

import ctypes
import sys
from typing import Any, Final

_write: Any = ctypes.PyDLL(None).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)

_ONE: Final = (1).to_bytes(8, sys.byteorder)


def write_keeping_gil(fd: int, data: bytes = _ONE) -> None:
    """Write to a non-blocking socket or eventfd. A write to a full one is dropped: its wake-up is pending already."""
    _write(fd, data, len(data))
