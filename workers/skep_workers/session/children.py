"""Child processes of the session, as /proc shows them."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def interrupt_children(*, since: float) -> None:
    """Send SIGINT to the children that were started at or after `since` (monotonic seconds).

    Those of earlier cells, a server in the background for instance, are left alone.
    """
    # A process's start is told in ticks since boot; CLOCK_MONOTONIC and the boot clock differ by time asleep.
    offset = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    earliest = int((since + offset) * _TICKS) - 1
    for pid in _children():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Fields after the name, which is in brackets and may hold anything: see proc(5), starttime is the 22nd.
            started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
            if started >= earliest:
                os.kill(pid, signal.SIGINT)


def _children() -> list[int]:
    pids: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                pids += [int(pid) for pid in (task / "children").read_text().split()]
    return pids
