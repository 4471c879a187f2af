"""Processes that can't be mistaken for later ones with the same number, and the end of one with all below it."""

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from skep_shared.orphans import children_of

MOST_ROUNDS: Final = 1000  # of looking for processes that were started meanwhile


class ProcessId(NamedTuple):
    """A process: its pid, and when it was started (clock ticks since boot), which tells it from others of that pid."""

    pid: int
    started: int


def process_id(pid: int) -> ProcessId | None:
    """Return what identifies the process that has this pid now, None if there is none."""
    try:
        # Fields after the name, which is in brackets and may hold anything: see proc(5), starttime is the 22nd.
        return ProcessId(pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))
    except (OSError, ValueError, IndexError):
        return None


def pid_space() -> str:
    """Return what two processes have in common that see each other under the same pids: boot and pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - it is no path


def open_process(process: ProcessId) -> int | None:
    """Return a pidfd of the process, None if it has ended and was reaped."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    # Asked with the handle in hand: from here on the pid can't become another process's unnoticed.
    if process_id(process.pid) == process:
        return handle
    os.close(handle)
    return None


def is_running(process: ProcessId) -> bool:
    """Return whether the process has not ended; one that only waits to be reaped has."""
    handle = open_process(process)
    return handle is not None and not wait_for_end([handle], 0)


def kill_tree(root: ProcessId) -> list[int]:
    """Kill a process and everything below it; return their pidfds, to be waited for and closed by the caller.

    All are stopped before any is killed. Otherwise a process could start another one, or its children could be
    inherited by a process that isn't ours to kill.
    """
    handle = open_process(root)
    if handle is None:
        return []
    handles = {root.pid: handle}
    _send(handle, signal.SIGSTOP)
    for _ in range(MOST_ROUNDS):
        found = [child for pid in handles for child in children_of(pid) if child not in handles]
        for pid in found:
            # Its parent is stopped and can't reap it, so the pid stays its own.
            with contextlib.suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
                _send(handles[pid], signal.SIGSTOP)
        if not found:
            break
    kill(handles.values())
    return list(handles.values())


def kill(handles: Iterable[int]) -> None:
    """Send SIGKILL to processes, by their pidfds."""
    for handle in handles:
        _send(handle, signal.SIGKILL)


def wait_for_end(handles: Iterable[int], seconds: float) -> bool:
    """Wait until all processes have ended, at most so long, and close their pidfds; return whether they have."""
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
    # One of another user stays, which the caller's wait finds out.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(handle, number)
