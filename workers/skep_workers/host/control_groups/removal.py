"""Ends the processes of a control group, and removes it with the groups below it."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from skep_workers.host.control_groups.hierarchy import WORKER, members, write

_KILL: Final = "cgroup.kill"  # version 2, Linux 5.14
_MOST_PROCESSES: Final = "pids.max"


def remove(directories: Iterable[Path]) -> bool:
    """Remove these groups and all below them; return False if one is in use, having killed the processes in it.

    A group can be removed a moment after its last process has ended: call this again then.
    """
    left = [directory for directory in directories if not _remove_tree(directory)]
    for directory in left:
        for group in _tree(directory):
            _kill_all(group)
    return not left


def remove_worker(directory: Path) -> bool:
    """Remove the group of a worker with those of its sessions; return False if one is in use, as with `remove`.

    The processes of the worker itself are not killed.
    """
    try:
        sessions = [path for path in directory.iterdir() if path.is_dir() and path.name != WORKER]
    except FileNotFoundError:
        return True
    if not remove(sessions):
        return False
    for path in (directory / WORKER, directory):
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _remove_tree(directory: Path) -> bool:
    """Remove a group with all below it; return whether it is gone."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        for group in _tree(directory):
            with contextlib.suppress(OSError):
                group.rmdir()
    return not directory.exists()


def _tree(directory: Path) -> list[Path]:
    """Return the groups of a tree, the innermost ones first. Sessions may have made groups in theirs."""
    return [Path(path) for path, _, _ in os.walk(directory, topdown=False)]


def _kill_all(group: Path) -> None:
    """Kill the processes that are in a group now. New ones can't be started if the kernel counts its processes."""
    try:
        write(group / _KILL, "1")
    except OSError:
        with contextlib.suppress(OSError):
            write(group / _MOST_PROCESSES, "0")
        handles = _handles(members(group))
        for pid in {*handles} & {*members(group)}:  # the others may be new processes with an old pid
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        for handle in handles.values():
            os.close(handle)


def _handles(pids: Iterable[int]) -> dict[int, int]:
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended, or there are no descriptors left: the next call continues
            found[pid] = os.pidfd_open(pid)
    return found
