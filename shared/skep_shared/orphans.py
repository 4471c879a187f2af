"""Whose a process is whose parent has ended: of the nearest ancestor that adopts, else of the system's first one."""

import contextlib
import ctypes
from typing import Final

from skep_shared.originals import os, read_file

_libc: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_PR_GET_CHILD_SUBREAPER: Final = 37


def adopt_orphans(*, adopts: bool = True) -> None:
    """Become the parent of descendants whose own parent ends: one that made a daemon of itself is found here.

    With `adopts` off, leave them to the next one above that adopts.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopts), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def adopts_orphans() -> bool:
    """Tell whether this process has said that it adopts; a child of one that has doesn't by itself."""
    adopts = ctypes.c_int(0)
    return _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0) == 0 and bool(adopts.value)


def children_of(pid: int) -> list[int]:
    """Give the children of a process, those of all its threads."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                pids += [int(child) for child in read_file(f"/proc/{pid}/task/{task}/children").split()]
    return pids
