"""The descriptors of a session process: which it receives, their numbers, and the objects that use them.

The objects that use them are made in the zygote already, on unconnected descriptors (see `make_ends`). A session
process that made the objects itself would write to hundreds of pages of memory, and the kernel would copy each of them.
So it only puts the descriptors that it receives in the places of the unconnected ones.
"""

from dataclasses import dataclass, fields
from fcntl import F_DUPFD_CLOEXEC, fcntl  # bound early: user code may patch fcntl
from typing import Final

from skep_shared.originals import os, resource, socket
from skep_shared.protocol.flushed_text import FlushedText
from skep_shared.protocol.interrupt_page import InterruptPage, make_page
from skep_workers.session.safeguards.reinit import renew

HIGHEST_PLACE: Final = 1024
PLACES: Final = 32
HIGHEST_STANDARD: Final = 2


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors that a session process receives, in the order in which they are passed."""

    cell_socket: int
    control_socket: int
    stdout_read: int
    stdout_write: int
    stderr_read: int
    stderr_write: int
    snapshot_socket: int
    interrupt_page: int

    @classmethod
    def count(cls) -> int:
        """Return the number of descriptors."""
        return len(fields(cls))


@dataclass(frozen=True, slots=True)
class Ends:
    """The session process's ends of its connections to the host, and the reading ends of its own two pipes."""

    cells: socket.socket
    control: socket.socket
    snapshots: socket.socket
    pipes: tuple[int, int]
    page: InterruptPage
    flushed: FlushedText

    def connect(self, given: Descriptors) -> None:
        """Use these descriptors from now on. The pipes become descriptors 1 and 2, and /dev/null becomes 0."""
        read_out, read_err = self.pipes
        for source, place in (
            (given.cell_socket, self.cells.fileno()),
            (given.control_socket, self.control.fileno()),
            (given.snapshot_socket, self.snapshots.fileno()),
            (given.stdout_read, read_out),
            (given.stderr_read, read_err),
        ):
            replace(place, source)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (given.stdout_write, 1), (given.stderr_write, 2)):
            os.dup2(source, target)
            os.close(source)
        for pipe in self.pipes:
            os.set_blocking(pipe, False)
        renew(self.flushed, given.interrupt_page)  # before the page, which closes the descriptor
        renew(self.page, given.interrupt_page)

    def close(self) -> None:
        """Close all of them."""
        for sock in (self.cells, self.control, self.snapshots):
            sock.close()
        for pipe in self.pipes:
            os.close(pipe)
        self.page.close()
        self.flushed.close()


def replace(place: int, descriptor: int) -> None:
    """Move a descriptor to the number `place`. The descriptor that has been there is closed."""
    os.dup2(descriptor, place, inheritable=False)
    os.close(descriptor)


def moved_up(descriptor: int) -> int:
    """Move a descriptor to a high number and return that: loops over low numbers miss it. Raises OSError."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _moved(descriptor, max(16, min(soft, HIGHEST_PLACE) - PLACES))


def above_standard(descriptor: int) -> int:
    """Move a descriptor above 0, 1 and 2, if user code has closed one of these, and return it. Raises OSError."""
    return descriptor if descriptor > HIGHEST_STANDARD else _moved(descriptor, HIGHEST_STANDARD + 1)


def _moved(descriptor: int, lowest: int) -> int:
    try:
        return fcntl(descriptor, F_DUPFD_CLOEXEC, lowest)
    finally:
        os.close(descriptor)


def make_ends() -> Ends:
    """Make unconnected ends, with high descriptor numbers."""
    moved = [moved_up(socket.socket(socket.AF_UNIX).detach()) for _ in range(3)]
    cells, control, snapshots = (socket.socket(fileno=descriptor) for descriptor in moved)
    read, write = os.pipe2(os.O_CLOEXEC)
    page = make_page()
    flushed = FlushedText(page)
    return Ends(cells, control, snapshots, (moved_up(read), moved_up(write)), InterruptPage(page), flushed)
