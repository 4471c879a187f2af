"""Interrupts and kills child processes of the session, which it finds in /proc."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from skep_shared.originals import os, read_file, signal
from skep_shared.protocol.orphans import children_of
from skep_workers.session.safeguards.clock import monotonic, seconds_since_boot

MOST_ROUNDS: Final = 1000  # of killing, in case a process keeps starting others
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def interrupt_children(*, since: float, while_true: Callable[[], bool]) -> None:
    """Send SIGINT to the descendants that were started at or after `since` (monotonic seconds).

    `while_true` is called before each signal, because processes found after the cell has ended may belong to the next
    cell.

    Children of earlier cells, such as a server in the background, are not interrupted. Neither are those with a process
    group of their own: a terminal's Ctrl-C doesn't reach them either.
    """
    # The start time of a process is in ticks since boot. Unlike CLOCK_MONOTONIC, that includes time asleep.
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
            # The fields follow the name, which is in brackets and may contain anything. starttime is the 22nd: proc(5).
            started = int(read_file(f"/proc/{child}/stat").decode("utf-8", "replace").rpartition(")")[2].split()[19])
            if started >= earliest:
                yield from _descendants(child, earliest)  # first, because they get another parent when theirs ends
                yield child


def is_below(pid: int, ancestor: int) -> bool:
    """Return whether a process is a child or grandchild of another one."""
    children = children_of(ancestor)
    return any(pid == child or pid in children_of(child) for child in children)


def kill_children() -> None:
    """Kill all descendants, in any process group.

    A process that adopts orphans finds the children of those that it has killed among its own children.
    """
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
