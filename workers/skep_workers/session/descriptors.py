"""The descriptors of a session process: which it gets, where it puts them, and what it makes of them.

What the engine has to do with its host is made in the zygote already, of stand-ins (see `make_ends`): a session that
made it would write to hundreds of pages of memory, each of which the kernel copies for it then. So a session process
only puts the descriptors that it gets in the places of those.
"""

from dataclasses import dataclass, fields
from fcntl import F_DUPFD_CLOEXEC, fcntl  # bound early: user code may patch fcntl
from typing import Final

from skep_shared.flushed_text import FlushedText
from skep_shared.interrupt_page import InterruptPage, make_page
from skep_shared.originals import os, resource, socket
from skep_workers.session.renewal import renew

HIGHEST_PLACE: Final = 1024
PLACES: Final = 32
HIGHEST_STANDARD: Final = 2


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors a session process gets, in the order in which they are passed."""

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
        """Give how many there are."""
        return len(fields(cls))


@dataclass(frozen=True, slots=True)
class Ends:
    """A session process' ends of what joins it to its host; of its two pipes those that it reads itself."""

    cells: socket.socket
    control: socket.socket
    snapshots: socket.socket
    pipes: tuple[int, int]
    page: InterruptPage
    flushed: FlushedText

    def take(self, given: Descriptors) -> None:
        """Go on with the descriptors that a process has got: the pipes are 1 and 2 from now on, and 0 is nothing."""
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
        renew(self.flushed, given.interrupt_page)  # before the other, which closes the descriptor
        renew(self.page, given.interrupt_page)

    def close(self) -> None:
        """Close everything."""
        for sock in (self.cells, self.control, self.snapshots):
            sock.close()
        for pipe in self.pipes:
            os.close(pipe)
        self.page.close()
        self.flushed.close()


def replace(place: int, descriptor: int) -> None:
    """Put a descriptor in the place of another one, which is closed."""
    os.dup2(descriptor, place, inheritable=False)
    os.close(descriptor)


def moved_up(descriptor: int) -> int:
    """Give another descriptor of the same, high up, where loops over low ones miss it. Raises OSError."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _moved(descriptor, max(16, min(soft, HIGHEST_PLACE) - PLACES))


def above_standard(descriptor: int) -> int:
    """Give a descriptor that is none of 0, 1 and 2, whichever of those user code has closed. Raises OSError."""
    return descriptor if descriptor > HIGHEST_STANDARD else _moved(descriptor, HIGHEST_STANDARD + 1)


def _moved(descriptor: int, lowest: int) -> int:
    try:
        return fcntl(descriptor, F_DUPFD_CLOEXEC, lowest)
    finally:
        os.close(descriptor)


def make_ends() -> Ends:
    """Make ends that lead nowhere, of descriptors high up."""
    moved = [moved_up(socket.socket(socket.AF_UNIX).detach()) for _ in range(3)]
    cells, control, snapshots = (socket.socket(fileno=descriptor) for descriptor in moved)
    read, write = os.pipe2(os.O_CLOEXEC)
    page = make_page()
    flushed = FlushedText(page)
    return Ends(cells, control, snapshots, (moved_up(read), moved_up(write)), InterruptPage(page), flushed)
