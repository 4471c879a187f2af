"""Twins: forks of a session process that continue as the processes of other sessions, which are forks of its session.

A twin shares memory with its parent until one of them writes to it. It must equal a restore of the same checkpoint, so
it is made only if that is certain: the parent is idle, and no user code has run since its checkpoint was taken; the
process contains nothing that a fork can't inherit (see runtime/fork_safety.py); and no code of cells decides how an
object is saved or restored. The twin drops what the checkpoint could not save.

A session process must be a child of the zygote, which reports its end to the host. So the fork is made in two steps,
with an intermediate process that ends when the zygote has registered the twin. The parent would adopt the orphaned
twin, so it stops being a subreaper meanwhile. It waits during this, for some milliseconds: only files are copied.
"""

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skep_shared.originals import os, select, signal, socket, time
from skep_shared.protocol.frames import Twinned
from skep_shared.protocol.orphans import adopt_orphans
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.output.link import CellLink
from skep_workers.session.runtime.fork_safety import more_threads
from skep_workers.session.safeguards.descriptors import Descriptors
from skep_workers.session.safeguards.native_threads import OwnThreads, own_threads

RECEIVE_SECONDS: Final = 2.0
FORK_SECONDS: Final = 10.0  # until the zygote has registered the twin
THREAD_SECONDS: Final = 0.002
THREAD_CHECKS: Final = 25  # for the threads of libraries
ENDING_CHECKS: Final = 1000  # for those of the engine
THREADS_EXIT: Final = 84
FAILED_EXIT: Final = 85
PID_BYTES: Final = 8


class Refused(Exception):
    """No twin is made, for this reason."""


@dataclass(frozen=True, slots=True)
class TwinEnds:
    """The descriptors that the host sends for a twin: its own, its directory, and a pipe that ends on its adoption."""

    own: Descriptors
    directory: int
    adopted: int
    all: tuple[int, ...]

    def close(self) -> None:
        """Close all of them."""
        for fd in self.all:
            os.close(fd)


def receive_ends(sock: socket.socket) -> TwinEnds:
    """Receive a twin's descriptors. Raises Refused if they don't arrive, OSError."""
    count = Descriptors.count() + 2
    if not _is_ready(sock.fileno(), RECEIVE_SECONDS):
        raise Refused("its descriptors have not arrived")
    _, fds, _, _ = socket.recv_fds(sock, 1, count)
    if len(fds) != count:
        for fd in fds:
            os.close(fd)
        raise Refused(f"{count} descriptors are needed, {len(fds)} have arrived")
    *own, directory, adopted = fds
    return TwinEnds(Descriptors(*own), directory, adopted, tuple(fds))


def fork_twin(request: int, ends: TwinEnds, checkpointer: Checkpointer, link: CellLink) -> bool:
    """Fork a twin and notify the host; return True in the twin, False in its parent. Raises Refused, OSError."""
    try:
        checkpointer.copy_files(ends.directory)
    except (OSError, ValueError) as exc:
        raise Refused(f"its files can't be copied: {type(exc).__name__}") from exc
    link.send()  # the twin drops what is unsent
    threads = own_threads()
    read, write = os.pipe2(os.O_CLOEXEC)
    with _orphans_left_to_zygote():
        middle = _fork()
        if middle == 0:
            _fork_again(ends.adopted, write, threads)
            os.close(read)
            os.close(write)
            return True
        os.close(write)
        try:
            pid = os.read(read, PID_BYTES) if _is_ready(read, FORK_SECONDS) else b""
            if pid:
                link.send(Twinned(request, int.from_bytes(pid, "big"), ""))
            status = _wait(middle)
        finally:
            os.close(read)
    if not pid:
        raise Refused(_reason(status))
    return False


@contextlib.contextmanager
def _orphans_left_to_zygote() -> Iterator[None]:
    """Leave orphaned descendants to the zygote. Only the twin can be one: fork_safety.py excludes other children."""
    parent = os.getpid()
    adopt_orphans(adopts=False)
    try:
        yield
    finally:
        if os.getpid() == parent:
            adopt_orphans()


def _fork_again(adopted: int, write: int, own: OwnThreads) -> None:
    """Fork the twin from the intermediate process. This returns in the twin only."""
    status = FAILED_EXIT
    try:
        # Libraries that handle forks have ended their threads for this one. The threads of other libraries remain, and
        # the thread of the last snapshot may be about to end: on a busy machine the kernel takes its time over that.
        for checks in itertools.count():
            others, ending = more_threads(os.getppid(), own)
            if (others <= 0 and not ending) or checks > (THREAD_CHECKS if others > 0 else ENDING_CHECKS):
                break
            time.sleep(THREAD_SECONDS)
        if others > 0 or ending:
            status = THREADS_EXIT
        elif twin := _fork():
            os.write(write, twin.to_bytes(PID_BYTES, "big"))
            _is_ready(adopted, FORK_SECONDS)
            status = 0
        else:
            return
    except BaseException:  # noqa: BLE001 - it must not continue as a session; its exit status says why
        os._exit(status)
    os._exit(status)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads, which the twin starts again
        return os.fork()


def _wait(pid: int) -> int:
    """Wait for the end of a child and return its exit code; kill it if it takes too long."""
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
        return "a library has threads in it that don't survive a fork"
    return f"the fork failed (exit status {status})"
