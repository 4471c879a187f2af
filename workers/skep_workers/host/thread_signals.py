"""Signals to one thread of another process: those to a process may go to a thread that doesn't sleep in the call."""

import ctypes
from typing import Any, Final

_tgkill: Final[Any] = getattr(ctypes.CDLL(None, use_errno=True), "tgkill", None)  # glibc has it from 2.30 on


def signal_thread(pid: int, tid: int, number: int) -> bool:
    """Send a signal; False if that thread has ended, or the C library can't."""
    return _tgkill is not None and _tgkill(pid, tid, number) == 0
