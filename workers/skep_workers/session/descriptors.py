"""The descriptors of a session process: which it gets, and where it puts them."""

import os
import resource
from dataclasses import dataclass, fields
from fcntl import F_DUPFD_CLOEXEC, fcntl


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


def arrange(descriptors: Descriptors) -> tuple[int, int, int, int, int, int]:
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
    return moved[0], moved[1], moved[2], moved[3], moved[4], moved[5]
