"""Child processes of the session, as /proc shows them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from skep_shared.originals import os, read_file, signal
from skep_shared.orphans import children_of
from skep_workers.session.clock import monotonic, seconds_since_boot

MOST_ROUNDS: Final = 1000  # one that starts others faster than that is not caught by killing
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def interrupt_children(*, since: float, while_true: Callable[[], bool]) -> None:
    """Send SIGINT to the children that were started at or after `since` (monotonic seconds), and to theirs.

    Before each it is asked whether that is still wanted: what is found once the cell has ended may be the next one's.

    Those of earlier cells, a server in the background for instance, are left alone, and so are those that have a
    process group of their own: a terminal's Ctrl-C doesn't reach them either.
    """
    # A process's start is told in ticks since boot; CLOCK_MONOTONIC and the boot clock differ by time asleep.
    offset = seconds_since_boot() - monotonic()
    earliest = int((since + offset) * _TICKS) - 1
    group = os.getpgrp()
    for pid in _descendants(os.getpid(), earliest):
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group and while_true():
                os.kill(pid, signal.SIGINT)


def _descendants(pid: int, earliest: int) -> Iterator[int]:
    for child in children_of(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Fields after the name, which is in brackets and may hold anything: see proc(5), starttime is the 22nd.
            started = int(read_file(f"/proc/{child}/stat").decode("utf-8", "replace").rpartition(")")[2].split()[19])
            if started >= earliest:
                yield from _descendants(child, earliest)  # before the parent's end leaves them to somebody else
                yield child


def is_below(pid: int, ancestor: int) -> bool:
    """Tell whether a process is a child of another one, or a child's child."""
    children = children_of(ancestor)
    return any(pid == child or pid in children_of(child) for child in children)


def kill_children() -> None:
    """End all descendants, whatever group they have: who adopts orphans finds those of the ones that it has killed."""
    for _ in range(MOST_ROUNDS):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = children_of(os.getpid())
        if not children:
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(children[0], 0)
