"""Lists what user code runs or waits for in this process: tasks, threads, child processes and connections, by name.

The host requests this list before it evicts an idle session, and reports it when a session ends with its process.
Every task, timer and watched descriptor of the event loop counts, and every thread and child process, because each of
them may resume as soon as an answer arrives. Standby resources don't count: the threads of an idle pool, the helper
processes of `multiprocessing`, and children that have already ended.
"""

import stat
import sys
from collections.abc import Container, Iterator
from contextlib import suppress
from socket import AF_UNIX, SO_ACCEPTCONN, SO_TYPE, SOCK_DGRAM, SOL_SOCKET, socket  # bound early, see loop.py
from threading import main_thread
from typing import Final

from skep_shared.originals import os, read_file
from skep_shared.protocol.orphans import children_of
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.safeguards.native_threads import own_idents, thread_names

MOST_NAMED: Final = 50  # of each kind
MAX_NAME_CHARS: Final = 100
HELPERS: Final = ("resource_tracker import main", "forkserver import main")


def tasks_at_work(loop: SessionLoop) -> list[str]:
    """Return the names of user code's tasks, timers and watched descriptors in the event loop. For any thread."""
    return _bounded(loop.work())


def threads_at_work() -> list[str]:
    """Return the names of user code's living threads, except idle threads of pools."""
    threads = thread_names()
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
    """Return the names of user code's living child processes; `own` is the pid of a child of the engine."""
    return _bounded([f"{pid} ({command})" for pid, command in _working_children() if pid != own])


def living_children(parent: int) -> Iterator[tuple[int, str]]:
    """Yield the (pid, command) of each child that has not ended."""
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
            yield from living_children(pid)  # the processes that a fork server has forked for the session
        else:
            yield pid, command


def connections(own: Container[int]) -> list[str]:
    """Return descriptions of user code's bound or connected sockets; `own` are the engine's descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with suppress(OSError):
            if fd not in own and stat.S_ISSOCK(os.fstat(fd).st_mode):
                description = _describe(fd)
                found += [description] if description else []
    return _bounded(sorted(found))


def _describe(fd: int) -> str:
    """Return a description of a socket, or '' if it has no address, such as a socket pair within the process."""
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
