"""Child processes of the session, as /proc shows them."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from skep_workers.session.clock import monotonic, seconds_since_boot

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def interrupt_children(*, since: float) -> None:
    """Send SIGINT to the children that were started at or after `since` (monotonic seconds), and to theirs.

    Those of earlier cells, a server in the background for instance, are left alone, and so are those that have a
    process group of their own: a terminal's Ctrl-C doesn't reach them either.
    """
    # A process's start is told in ticks since boot; CLOCK_MONOTONIC and the boot clock differ by time asleep.
    offset = seconds_since_boot() - monotonic()
    earliest = int((since + offset) * _TICKS) - 1
    group = os.getpgrp()
    for pid in _descendants(os.getpid(), earliest):
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group:
                os.kill(pid, signal.SIGINT)


def _descendants(pid: int, earliest: int) -> Iterator[int]:
    for child in _children(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Fields after the name, which is in brackets and may hold anything: see proc(5), starttime is the 22nd.
            started = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[19])
            if started >= earliest:
                yield from _descendants(child, earliest)  # before the parent's end leaves them to somebody else
                yield child


def _children(pid: int) -> list[int]:
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids
