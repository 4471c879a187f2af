"""Waking another thread without making way for it: a write to its descriptor by a caller who keeps the GIL.

os.write, os.eventfd_write and socket.send give the GIL away, and the woken thread then runs amid what the caller does.
"""

import ctypes
import sys
from typing import Any, Final

_write: Any = ctypes.PyDLL(None).write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)

_ONE: Final = (1).to_bytes(8, sys.byteorder)


def write_keeping_gil(fd: int) -> None:
    """Write to a socket or an eventfd that doesn't block; one that is full needs no more."""
    _write(fd, _ONE, len(_ONE))
