"""Who inherits an orphaned process: the nearest child-subreaper ancestor, otherwise init."""

import contextlib
import ctypes
from typing import Final

from skep_shared.originals import os, read_file

_libc: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_PR_GET_CHILD_SUBREAPER: Final = 37


def adopt_orphans(*, adopts: bool = True) -> None:
    """Become the parent of descendants whose own parent ends, so that a process that became a daemon is found.

    With `adopts=False`, leave them to the next ancestor that adopts.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopts), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def adopts_orphans() -> bool:
    """Return whether this process adopts orphans. Children don't inherit this."""
    adopts = ctypes.c_int(0)
    return _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0) == 0 and bool(adopts.value)


def children_of(pid: int) -> list[int]:
    """Return the child processes of a process, including those that its other threads have started."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                pids += [int(child) for child in read_file(f"/proc/{pid}/task/{task}/children").split()]
    return pids
