"""How many sessions a worker has file descriptors for.

A session needs several, and the usual soft limit, 1024, is too low. So a worker raises it as far as its sessions need
and the hard limit allows; session processes get the original limit.
"""

import resource
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.settings import WorkerSettings

log = structlog.get_logger()

DESCRIPTORS_PER_SESSION: Final = 8  # three sockets, two pipes, a page; some more while it starts
OWN_DESCRIPTORS: Final = 150  # connections to Redis, the zygote, and the second ends for processes that start


class DescriptorLimit:
    """The descriptor limit of this process; `original` is what it was at first."""

    def __init__(self) -> None:
        self.original: Final = resource.getrlimit(resource.RLIMIT_NOFILE)

    def make_room(self, settings: WorkerSettings) -> WorkerSettings:
        """Raise the limit; return the settings with as many resident sessions as there are descriptors for.

        Raises StartError if there are too few for one.
        """
        soft, hard = self.original
        wanted = OWN_DESCRIPTORS + DESCRIPTORS_PER_SESSION * settings.max_resident
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return settings
        fitting = (soft - OWN_DESCRIPTORS) // DESCRIPTORS_PER_SESSION
        if fitting < 1:
            needed = OWN_DESCRIPTORS + DESCRIPTORS_PER_SESSION
            raise StartError("worker", f"it may have {hard} open files (ulimit -Hn), but one session needs {needed}")
        log.warning("worker.few_descriptors", open_files=hard, max_resident=settings.max_resident, fitting=fitting)
        return settings.model_copy(update={"max_resident": fitting})

    def restore_in(self, pid: int) -> None:
        """Set the original limit in a child process."""
        resource.prlimit(pid, resource.RLIMIT_NOFILE, self.original)
