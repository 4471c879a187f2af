"""Find out from the kernel whether a process waits for itself forever.

A forked child has one thread. A lock that another thread held at the fork remains held, and work for a pool of threads
is never done. Such a wait is a futex of the process's own, without a time limit. When every thread of a process is in
such a wait, no thread is left that could end it.

Where we may not see a process's system calls, the kernel may still show which function it sleeps in. Then it must also
have used no processor time for a while.
"""

import platform
from typing import Final

from skep_shared.originals import os, read_file
from skep_workers.session.safeguards.clock import monotonic

_FUTEX: Final = {"x86_64": 202, "aarch64": 98}
_PRIVATE: Final = 128
_COMMAND_MASK: Final = 127
_WAITS: Final = frozenset({0, 6, 9, 11, 13})  # WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
IDLE_SECONDS: Final = 2.0
CHECK_SECONDS: Final = 0.1
MOST_CHECK_SECONDS: Final = 0.5


class DeadlockWatch:
    """Checks one process repeatedly; it counts as deadlocked only if two checks agree."""

    def __init__(self, pid: int) -> None:
        self._tasks = f"/proc/{pid}/task"
        self._latest: tuple[str, ...] = ()
        self._idle_since = monotonic()
        self.next_check_seconds = CHECK_SECONDS

    def is_deadlocked(self) -> bool:
        """Return whether the process waits for itself forever."""
        self.next_check_seconds = min(2 * self.next_check_seconds, MOST_CHECK_SECONDS)
        try:
            seen = tuple(self._waits(task) for task in sorted(os.listdir(self._tasks)))
        except OSError:
            seen = ()
        is_same = bool(seen) and seen == self._latest
        if not is_same:
            self._latest, self._idle_since = seen, monotonic()
        if not is_same or "" in seen:
            return False
        is_sure = all(each.startswith("futex ") for each in seen)
        return is_sure or monotonic() - self._idle_since >= IDLE_SECONDS

    def _waits(self, task: str) -> str:
        """Return a description of a thread's wait, if that is a futex without a time limit; otherwise ''."""
        directory = f"{self._tasks}/{task}"
        try:
            call = read_file(f"{directory}/syscall").decode()
        except PermissionError:
            return self._sleeps(directory)
        number, *arguments = call.split()
        if number != str(_FUTEX.get(platform.machine())) or len(arguments) < 4:
            return ""
        operation, timeout = int(arguments[1], 16), int(arguments[3], 16)
        is_own = bool(operation & _PRIVATE) and operation & _COMMAND_MASK in _WAITS
        return f"futex {task} {call}" if is_own and not timeout else ""

    @staticmethod
    def _sleeps(directory: str) -> str:
        if not read_file(f"{directory}/wchan").startswith(b"futex"):
            return ""
        fields = read_file(f"{directory}/stat").decode("utf-8", "replace").rpartition(")")[2].split()
        return " ".join((directory, fields[0], *fields[11:13]))  # state, user time, system time
