"""Twins: forks of a session process that go on as the processes of other sessions, which are forks of its session.

The twin shares the memory with its parent until one of the two writes to it. It is what a restore of the same
checkpoint would have given, so it is made only where that can be told: the parent idles, and nothing of user code has
run since its checkpoint was taken; nothing is in it that a fork can't take along (see company.py); and no code of cells
has a say in what is saved of an object, or made of that. What the checkpoint could not save, the twin lets go of.

A session process must be the zygote's child, who tells the host of its end. So the fork is made in two steps, with a
process in between that ends when the zygote knows of the twin; the parent, who would adopt it, leaves it to the zygote
meanwhile. While that goes on, the parent waits: some milliseconds, as nothing has to be copied but files.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skep_shared.frames import Twinned
from skep_shared.originals import os, select, signal, socket, time
from skep_shared.orphans import adopt_orphans
from skep_workers.session.checkpoint.checkpointer import Keeper
from skep_workers.session.company import native_threads, own_threads
from skep_workers.session.descriptors import Descriptors
from skep_workers.session.link import CellLink

RECEIVE_SECONDS: Final = 2.0
FORK_SECONDS: Final = 10.0  # until the zygote knows of the twin
THREAD_SECONDS: Final = 0.002
THREAD_LOOKS: Final = 25
THREADS_EXIT: Final = 84
FAILED_EXIT: Final = 85
PID_BYTES: Final = 8


class Refused(Exception):
    """There is no twin, and why."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the host has sent for a twin: its descriptors, its directory, and a pipe that ends when it is adopted."""

    own: Descriptors
    directory: int
    adopted: int
    all: tuple[int, ...]

    def close(self) -> None:
        """Close everything."""
        for fd in self.all:
            os.close(fd)


def receive(sock: socket.socket) -> Given:
    """Take a twin's descriptors. Raises Refused if they don't come, OSError."""
    count = Descriptors.count() + 2
    if not _is_ready(sock.fileno(), RECEIVE_SECONDS):
        raise Refused("its descriptors have not come")
    _, fds, _, _ = socket.recv_fds(sock, 1, count)
    if len(fds) != count:
        for fd in fds:
            os.close(fd)
        raise Refused(f"{count} descriptors are needed, {len(fds)} have come")
    *own, directory, adopted = fds
    return Given(Descriptors(*own), directory, adopted, tuple(fds))


def fork(request: int, given: Given, keeper: Keeper, link: CellLink) -> bool:
    """Make a twin and tell the host; True in the twin, False in its parent. Raises Refused, OSError."""
    try:
        keeper.copy_files(given.directory)
    except (OSError, ValueError) as exc:
        raise Refused(f"its files can't be copied: {type(exc).__name__}") from exc
    link.send()  # what the twin finds unsent it would drop
    threads = own_threads()
    read, write = os.pipe2(os.O_CLOEXEC)
    with _left_to_the_zygote():
        middle = _fork()
        if middle == 0:
            _split(given.adopted, write, threads)
            os.close(read)
            os.close(write)
            return True
        os.close(write)
        try:
            told = os.read(read, PID_BYTES) if _is_ready(read, FORK_SECONDS) else b""
            if told:
                link.send(Twinned(request, int.from_bytes(told, "big"), ""))
            status = _wait(middle)
        finally:
            os.close(read)
    if not told:
        raise Refused(_reason(status))
    return False


@contextlib.contextmanager
def _left_to_the_zygote() -> Iterator[None]:
    """Have the twin fall to the zygote. There are no other children that could, see company.py."""
    parent = os.getpid()
    adopt_orphans(adopts=False)
    try:
        yield
    finally:
        if os.getpid() == parent:
            adopt_orphans()


def _split(adopted: int, write: int, threads: int) -> None:
    """In the process in between: fork the twin, in which alone this returns."""
    status = FAILED_EXIT
    try:
        # Libraries that know of forks have ended their threads for this one; whoever is left doesn't know.
        # The one of the last snapshot may be on its way out.
        looks = 0
        while (is_more := native_threads(os.getppid()) > threads) and looks < THREAD_LOOKS:
            looks += 1
            time.sleep(THREAD_SECONDS)
        if is_more:
            status = THREADS_EXIT
        elif twin := _fork():
            os.write(write, twin.to_bytes(PID_BYTES, "big"))
            _is_ready(adopted, FORK_SECONDS)
            status = 0
        else:
            return
    except BaseException:  # noqa: BLE001 - it must not run on as a session; its exit status is what it has to say
        os._exit(status)
    os._exit(status)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forking beside threads; ours are in the twin made anew
        return os.fork()


def _wait(pid: int) -> int:
    """Wait for a child's end, and kill it when that takes too long; gives its exit code."""
    handle = os.pidfd_open(pid)
    try:
        if not _is_ready(handle, FORK_SECONDS):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _is_ready(fd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _reason(status: int) -> str:
    if status == THREADS_EXIT:
        return "a library has threads in it that don't know of forks"
    return f"the fork failed (exit status {status})"
