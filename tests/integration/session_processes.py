"""The pids of sessions' processes as tests see them. In a sandbox with namespaces, cells see others: their own is 2.

Cells name a process by a text, which differs for all processes of a machine; `pid_named` finds the process that it names.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import skep
from skep_shared.process_trees import process_id
from skep_shared.protocol.orphans import children_of

FIRST_PROCESS: Final = "skep-first"  # of a pid namespace


def name_of(pid: str) -> str:
    """Return code for a cell: the name of the process that has this pid, an expression, in the cell's namespace."""
    return (
        "(lambda pid: ' '.join((__import__('os').readlink('/proc/self/ns/pid'), str(pid),"
        f" open(f'/proc/{{pid}}/stat').read().rpartition(')')[2].split()[19])))({pid})"
    )


OWN_NAME: Final = name_of("__import__('os').getpid()")  # equal in two cells if they run in the same process


def pid_named(name: str) -> int:
    """Return the pid of a process that has not been reaped, by the name that a cell gave it."""
    namespace, pid, started = name.split()
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - a path for each is slow
    found = [each for each in pids if _has_name(each, namespace, int(pid), int(started))]
    assert len(found) == 1, f"{len(found)} processes are named {name!r}"
    return found[0]


async def pid_of(session: skep.Session) -> int:
    """Return the pid of a session's process, which runs a cell for it."""
    return pid_named((await session.run(OWN_NAME)).value)


async def zygote_of(session: skep.Session) -> int:
    """Return the pid of the zygote that a session's process was forked from; the process runs a cell for it."""
    return parent_of(await pid_of(session))


def sessions_of(zygote: int) -> list[int]:
    """Return the pids of a zygote's children, except those that only hold a pid namespace for sessions."""
    return [pid for pid in children_of(zygote) if _command(pid) != FIRST_PROCESS]


def parent_of(pid: int) -> int:
    """Return the pid of a process's parent."""
    return int(_status(pid, "PPid")[0])


def _has_name(pid: int, namespace: str, inner_pid: int, started: int) -> bool:
    process = process_id(pid)
    if process is None or process.started != started or _status(pid, "NSpid")[-1:] != [str(inner_pid)]:
        return False
    # Only root may look at the namespaces of a session's process. Without it, only processes that started in the same
    # hundredth of a second could be confused.
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid") == namespace  # noqa: PTH115 - the target of this link is not a path
    return True


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0]
    return ""  # it has ended meanwhile


def _status(pid: int, field: str) -> list[str]:
    """Return the words of a field of /proc/PID/status, none if the process has been reaped meanwhile."""
    with contextlib.suppress(OSError):
        if found := re.search(rf"^{field}:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
            return found[1].split()
    return []
