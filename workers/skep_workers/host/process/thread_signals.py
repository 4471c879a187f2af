"""Signals to one thread of another process: one to the process may be delivered to a thread that isn't blocked."""

import ctypes
from typing import Any, Final

_tgkill: Final[Any] = getattr(ctypes.CDLL(None, use_errno=True), "tgkill", None)  # in glibc since 2.30


def signal_thread(pid: int, tid: int, number: int) -> bool:
    """Send a signal; return False if the thread has ended, or if the C library lacks the function."""
    return _tgkill is not None and _tgkill(pid, tid, number) == 0
