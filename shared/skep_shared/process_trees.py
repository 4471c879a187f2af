"""Identifies processes beyond the reuse of their pids, and kills a process together with its descendants."""

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from skep_shared.protocol.orphans import children_of

MOST_ROUNDS: Final = 1000  # of searching for processes that were started meanwhile


class ProcessId(NamedTuple):
    """A process: its pid, and its start time (clock ticks since boot), which differs between processes of one pid."""

    pid: int
    started: int


def process_id(pid: int) -> ProcessId | None:
    """Return the identity of the process that has this pid now, or None if there is no such process."""
    try:
        # The fields follow the name, which is in brackets and may contain anything. starttime is the 22nd: proc(5).
        return ProcessId(pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))
    except (OSError, ValueError, IndexError):
        return None


def pid_space() -> str:
    """Return the boot id and pid namespace, which are equal for processes that see each other under the same pids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - the target of this link is not a path


def open_process(process: ProcessId) -> int | None:
    """Return a pidfd of the process, or None if it has ended and was reaped."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Checked after the pidfd was opened: if the pid had been reused before, the identity would differ.
    if process_id(process.pid) == process:
        return handle
    os.close(handle)
    return None


def is_running(process: ProcessId) -> bool:
    """Return whether the process has not ended. A zombie has ended."""
    handle = open_process(process)
    return handle is not None and not wait_for_end([handle], 0)


def kill_tree(root: ProcessId) -> list[int]:
    """Kill a process and all its descendants; return their pidfds, which the caller must wait for and close.

    All are stopped before any is killed. Otherwise a process could start another one, or its children could be
    inherited by a process that must not be killed.
    """
    handle = open_process(root)
    if handle is None:
        return []
    handles = {root.pid: handle}
    _send(handle, signal.SIGSTOP)
    for _ in range(MOST_ROUNDS):
        found = [child for pid in handles for child in children_of(pid) if child not in handles]
        for pid in found:
            # Its parent is stopped and can't reap it, so the pid can't be reused.
            with contextlib.suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
                _send(handles[pid], signal.SIGSTOP)
        if not found:
            break
    kill(handles.values())
    return list(handles.values())


def kill(handles: Iterable[int]) -> None:
    """Send SIGKILL to the processes of these pidfds."""
    for handle in handles:
        _send(handle, signal.SIGKILL)


def wait_for_end(handles: Iterable[int], seconds: float) -> bool:
    """Wait up to `seconds` until all processes have ended, and close their pidfds; return whether they have ended."""
    poller = select.poll()
    left = set(handles)
    for handle in left:
        poller.register(handle, select.POLLIN)
    ends_at = monotonic() + seconds
    try:
        while left:
            seconds = max(0.0, ends_at - monotonic())
            for handle, _ in poller.poll(seconds * 1000):
                poller.unregister(handle)
                os.close(handle)
                left.discard(handle)
            if not seconds:
                break
        return not left
    finally:
        for handle in left:
            os.close(handle)


def _send(handle: int, number: signal.Signals) -> None:
    # A process of another user can't be signalled; the caller's wait then reports that it has not ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(handle, number)
