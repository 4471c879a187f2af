"""A pid namespace for each session. It sees no other processes, and all of its processes end with it.

The first process of a namespace can't be killed by its own signals, and ends the namespace with it. So a session is the
second one: it behaves as without a sandbox. The first one executes a program that does nothing at all. The zygote is
the parent of both. It starts the first process of the next session's namespace in advance, after it has answered the
request before.

A process in a user namespace can't return to the machine's pid namespace, not even for its next children. There an
intermediate process, whose orphan the session is, goes to the new namespace in place of the zygote.

Things that don't work:
- A session that is the first process: `os.kill(os.getpid(), signal.SIGKILL)` has no effect in it, and `os.abort()` ends
  it with another signal.
- Python's fork for the first process: its handlers write to memory that this process never uses.
- A first process that remains a copy of the zygote: it held 0.9 MB of memory that the zygote had changed since.
"""

import os
import select
import signal
from typing import Final, NamedTuple, NoReturn

from skep_workers.sandbox.kernel.idle_program import open_idle_program
from skep_workers.sandbox.kernel.namespaces import NEW_PIDS, join_namespace
from skep_workers.sandbox.kernel.open_descriptors import close_all_except
from skep_workers.sandbox.kernel.privileges import die_with, drop_capabilities
from skep_workers.sandbox.kernel.system_calls import call

_ALL_SIGNALS: Final = frozenset(signal.valid_signals())
_PID_BYTES: Final = 16
_END_MS: Final = 10_000  # for a process that has nothing left to do but to end


class _Namespace(NamedTuple):
    """A namespace that no session uses yet: its first process, and its descriptor."""

    first: int
    descriptor: int


class PidNamespaces:
    """The pid namespaces of a zygote's sessions, each named by its first process."""

    def __init__(self, zygote: int, *, may_return: bool) -> None:
        """`zygote`: a pidfd of this process. may_return: whether this process may return to its pid namespace."""
        self._zygote = zygote
        self._may_return = may_return
        self._program = open_idle_program()
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._next: _Namespace | None = None
        self._first: dict[int, int] = {}  # of each session's process

    @property
    def first_processes(self) -> set[int]:
        """Return the first processes of the namespaces that are in use, or will be next."""
        return {*self._first.values()} if self._next is None else {*self._first.values(), self._next.first}

    def prepare_next(self) -> None:
        """Make the namespace for the next fork. Raises OSError."""
        if self._next is not None:
            return
        until, held = os.pipe2(os.O_CLOEXEC)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)  # handlers are for this process only
        try:
            first = call("clone", NEW_PIDS | signal.SIGCHLD, 0, 0, 0, 0)
            if first == 0:
                os.close(held)
                _do_nothing(self._zygote, self._program, until)
            # Later it is a process that this one may not look into.
            self._next = _Namespace(first, os.open(f"/proc/{first}/ns/pid", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(until)
            os.close(held)

    def fork(self) -> int:
        """Fork the second process of a new namespace, as os.fork does. Raises OSError."""
        self.prepare_next()
        assert self._next is not None  # noqa: S101 - it was made in the line before
        first, descriptor = self._next
        self._next = None  # if this fails, the zygote kills the first process, which is in no use then
        try:
            pid = self._fork_directly(descriptor) if self._may_return else _fork_indirectly(descriptor)
        finally:
            os.close(descriptor)
        if pid:
            self._first[pid] = first
        return pid

    def note_end(self, pid: int) -> None:
        """Note that a child of the zygote has ended: with a session's process its namespace ends."""
        first = self._first.pop(pid, 0)
        if first:
            os.kill(first, signal.SIGKILL)  # it was not waited for yet, or it would not be here
        elif self._next is not None and pid == self._next.first:
            os.close(self._next.descriptor)
            self._next = None
        else:
            self._first = {session: each for session, each in self._first.items() if each != pid}

    def _fork_directly(self, namespace: int) -> int:
        join_namespace(namespace, NEW_PIDS)
        try:
            pid = os.fork()
        except OSError:
            join_namespace(self._own, NEW_PIDS)
            raise
        if pid:
            join_namespace(self._own, NEW_PIDS)
        return pid


def _fork_indirectly(namespace: int) -> int:
    """Fork a process that forks the second process of a namespace and ends; return the pid of the latter."""
    read, write = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        return _become_second(namespace, write)
    os.close(write)
    packed = os.read(read, _PID_BYTES)
    os.close(read)
    os.waitpid(between, 0)
    if not packed:
        raise OSError("fork: the process between the zygote and the session could not fork")
    return int(packed)


def _become_second(namespace: int, write: int) -> int:
    """Fork the second process of a namespace and end; return in that process, once the zygote is its parent."""
    try:
        handle = os.pidfd_open(os.getpid())
        join_namespace(namespace, NEW_PIDS)
        pid = os.fork()
        if pid:
            os.write(write, str(pid).encode())
            os._exit(0)
    except OSError:
        os._exit(1)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(_END_MS):
        os._exit(1)
    os.close(handle)
    os.close(write)
    return 0


def _do_nothing(zygote: int, program: int, until: int) -> NoReturn:
    """Be the first process of a namespace: wait for the end of the zygote, or to be killed. All signals are blocked.

    `until`: a pipe that ends once this process may become one that can't be looked into.
    """
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are not zombies when they end
        die_with(zygote)
        os.read(until, 1)
        close_all_except((program,))
        drop_capabilities()
        os.execve(program, ["skep-first"], {})  # noqa: S606 - it is our own
    finally:
        os._exit(1)
