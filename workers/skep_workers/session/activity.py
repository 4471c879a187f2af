"""What of user code runs or waits in this process: tasks, threads, child processes and connections, in words.

The host asks for it before it takes an idle session's process away, and tells it when one has ended with its process.
Any task, timer or watched descriptor of the event loop counts, any thread and any child process, since what waits for
an answer now works as soon as it comes. Not counted is what only stands by: the threads of a pool that has nothing to
do, the helper processes of `multiprocessing`, and children that have ended already.
"""

import stat
import sys
from collections.abc import Container, Iterator
from contextlib import suppress
from socket import AF_UNIX, SO_ACCEPTCONN, SO_TYPE, SOCK_DGRAM, SOL_SOCKET, socket  # bound early, see loop.py
from threading import _active as _active_threads  # type: ignore[attr-defined]  # enumerate() would take its lock
from threading import main_thread
from typing import Final

from skep_shared.originals import os, read_file
from skep_shared.orphans import children_of
from skep_workers.session.loop import SessionLoop
from skep_workers.session.native_threads import own_idents

MOST_NAMED: Final = 50  # of each kind
MAX_NAME_CHARS: Final = 100
HELPERS: Final = ("resource_tracker import main", "forkserver import main")


def tasks_at_work(loop: SessionLoop) -> list[str]:
    """Name the tasks, timers and watched descriptors of user code in the event loop; any thread may ask."""
    return _bounded(loop.work())


def threads_at_work() -> list[str]:
    """Name the threads of user code that live, except those of pools that wait for something to do."""
    threads = {number: thread.name for number, thread in list(_active_threads.items())}
    main = main_thread().ident
    names = []
    for number, frame in list(sys._current_frames().items()):  # noqa: SLF001 - documented, in spite of its name
        name = threads.get(number, f"thread {number}")
        is_of_pool = (
            frame.f_code.co_name == "_worker" and frame.f_globals.get("__name__") == "concurrent.futures.thread"
        )
        if number != main and number not in own_idents and not is_of_pool:
            names.append(name)
    return _bounded(sorted(names))


def children_at_work(own: int = 0) -> list[str]:
    """Name the child processes of user code that live; `own` is one of the engine's."""
    return _bounded([f"{pid} ({command})" for pid, command in _working_children() if pid != own])


def living_children(parent: int) -> Iterator[tuple[int, str]]:
    """Yield (pid, command) of the children that have not ended."""
    for pid in children_of(parent):
        with suppress(OSError, IndexError):
            state = read_file(f"/proc/{pid}/stat").decode("utf-8", "replace").rpartition(")")[2].split()[0]
            arguments = read_file(f"/proc/{pid}/cmdline").decode("utf-8", "replace").split("\0")
            command = " ".join(arguments).strip() or "?"
            if state not in {"Z", "X"}:
                yield pid, command


def _working_children() -> Iterator[tuple[int, str]]:
    for pid, command in living_children(os.getpid()):
        if any(helper in command for helper in HELPERS):
            yield from living_children(pid)  # a fork server's, which it has forked for the session
        else:
            yield pid, command


def connections(own: Container[int]) -> list[str]:
    """Name the sockets of user code that are bound or connected, `own` being the engine's descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with suppress(OSError):
            if fd not in own and stat.S_ISSOCK(os.fstat(fd).st_mode):
                description = _describe(fd)
                found += [description] if description else []
    return _bounded(sorted(found))


def _describe(fd: int) -> str:
    """Say what a socket is; '' for one without an address, as a pair within the process has none."""
    with socket(fileno=os.dup(fd)) as sock:
        is_datagram = sock.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM
        kind = "unix" if sock.family == AF_UNIX else "udp" if is_datagram else "tcp"
        local, peer = _address(sock.getsockname()), ""
        with suppress(OSError):
            peer = _address(sock.getpeername())
        if sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
            return f"{kind} {local} (listening)"
    return f"{kind} {local} to {peer}" if peer else f"{kind} {local}" if local else ""


def _address(address: object) -> str:
    if isinstance(address, tuple):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}" if port else ""
    text = address.decode("utf-8", "replace") if isinstance(address, bytes) else str(address)
    return text.replace("\0", "@")


def _bounded(names: list[str]) -> list[str]:
    short = [name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…" for name in names[:MOST_NAMED]]
    return [*short, f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else short
