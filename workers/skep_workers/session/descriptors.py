"""The descriptors of a session process: which it gets, where it puts them, and what it makes of them."""

import os
import resource
import socket
from dataclasses import dataclass, fields
from fcntl import F_DUPFD_CLOEXEC, fcntl

from skep_shared.flushed_text import FlushedText
from skep_shared.interrupt_page import InterruptPage


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

    def close(self) -> None:
        """Close all but the pipes, which are their reader's."""
        for sock in (self.cells, self.control, self.snapshots):
            sock.close()
        self.page.close()
        self.flushed.close()


def arrange(descriptors: Descriptors) -> Ends:
    """Put the pipes on 1 and 2, nothing on 0, and our own descriptors high up, where loops over low ones miss them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = max(16, min(soft, 1024) - 32)
    moved = []
    for fd in (
        descriptors.cell_socket,
        descriptors.control_socket,
        descriptors.snapshot_socket,
        descriptors.stdout_read,
        descriptors.stderr_read,
        descriptors.interrupt_page,
    ):
        moved.append(fcntl(fd, F_DUPFD_CLOEXEC, lowest))
        os.close(fd)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (descriptors.stdout_write, 1), (descriptors.stderr_write, 2)):
        os.dup2(source, target)
        os.close(source)
    cells, control, snapshots, out, err, page = moved
    flushed = FlushedText(page)  # before the other, which closes the descriptor
    return Ends(
        socket.socket(fileno=cells),
        socket.socket(fileno=control),
        socket.socket(fileno=snapshots),
        (out, err),
        InterruptPage(page),
        flushed,
    )
