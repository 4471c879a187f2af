"""What a process and all its descendants use, from /proc.

A session process adopts the orphans among its descendants, so a process that became a daemon is still counted.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Final

from skep_shared.originals import read_file
from skep_shared.protocol.orphans import children_of

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_ALL_THREADS: Final = 2  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) returns it


@dataclass(slots=True)
class TreeUsage:
    """The sums over a tree of processes.

    cpu_seconds: also of processes that have ended and that their parents have waited for. processes: with every thread
    counted. resident_bytes: memory that several processes share is counted for each. pids: of the processes.
    """

    cpu_seconds: float = 0.0
    processes: int = 0
    resident_bytes: int = 0
    pids: list[int] = field(default_factory=list)
    has_children: bool = False  # or had some, and has waited for them


def cpu_clock(pid: int) -> float:
    """Return the processor time of a process with all its threads, without its children; 0 if there is no process.

    That is also true of one that was not waited for.
    """
    try:
        return time.clock_gettime(~pid << 3 | _ALL_THREADS)
    except OSError:
        return 0.0


class MainChildren:
    """Whether the main thread of a process has child processes, which takes no more than a read."""

    def __init__(self) -> None:
        self._file: int | None = None

    def watch(self, pid: int) -> None:
        """Look at this process from now on."""
        self.close()
        with contextlib.suppress(OSError):
            self._file = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def has_any(self) -> bool:
        """Return whether it has children; True if that can't be known."""
        try:
            return self._file is None or bool(os.pread(self._file, 1, 0))
        except OSError:
            return True

    def close(self) -> None:
        """Look at no process any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def measure_tree(root: int, most_processes: int | None = None) -> TreeUsage:
    """Return what a process and its descendants use. Stop beyond `most_processes`."""
    usage, left = TreeUsage(), [root]
    while left:
        pid = left.pop()
        is_there = _add_process(usage, pid)
        if most_processes is not None and usage.processes > most_processes:
            break
        if is_there:
            left += children_of(pid)
    return usage


def _add_process(usage: TreeUsage, pid: int) -> bool:
    """Add one process; return False if there is none. One that has ended remains until its parent waits for it."""
    try:
        stat = read_file(f"/proc/{pid}/stat")
    except OSError:
        return False
    # The fields follow the name, which is in brackets and may contain anything. The first one is the third: proc(5).
    fields = stat.rpartition(b")")[2].split()
    usage.cpu_seconds += sum(map(int, fields[11:15])) / TICKS_PER_SECOND  # utime, stime, and those of ended children
    usage.has_children = usage.has_children or bool(usage.pids) or fields[13:15] != [b"0", b"0"]
    usage.processes += int(fields[17])
    usage.resident_bytes += int(fields[21]) * PAGE_BYTES
    usage.pids.append(pid)
    return True


def proportional_bytes(pids: list[int]) -> int:
    """Return the memory of these processes, where each shared page counts as a part of itself for each that shares it.

    The kernel looks at every page, so this takes milliseconds for each gigabyte. Where it refuses to answer, as for a
    process that must not be traced, shared pages count in full.
    """
    return sum(map(_proportional_bytes_of, pids))


def _proportional_bytes_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in read_file(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError):
        return int(read_file(f"/proc/{pid}/statm").split()[1]) * PAGE_BYTES
    return 0
