"""How many sessions a worker has descriptors for.

A session takes several, and the usual soft limit, 1024, is for programs with few. So a worker raises it as far as its
sessions need and it may; session processes get the limit that was there before.
"""

import resource
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.settings import WorkerSettings

log = structlog.get_logger()

A_SESSIONS_DESCRIPTORS: Final = 8  # three sockets, two pipes, a page; a little more while it starts
OWN_DESCRIPTORS: Final = 150  # connections to Redis, the zygote, and the other ends of processes that start


class DescriptorLimit:
    """This process's limit; `first` is what it was."""

    def __init__(self) -> None:
        self.first: Final = resource.getrlimit(resource.RLIMIT_NOFILE)

    def make_room(self, settings: WorkerSettings) -> WorkerSettings:
        """Raise the limit; gives the settings with as many resident sessions as there are descriptors for.

        Raises StartError if there are too few for one.
        """
        soft, hard = self.first
        wanted = OWN_DESCRIPTORS + A_SESSIONS_DESCRIPTORS * settings.max_resident
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return settings
        fitting = (soft - OWN_DESCRIPTORS) // A_SESSIONS_DESCRIPTORS
        if fitting < 1:
            needed = OWN_DESCRIPTORS + A_SESSIONS_DESCRIPTORS
            raise StartError(
                "worker", f"it may have {hard} open files (ulimit -Hn), for one session {needed} are needed"
            )
        log.warning("worker.few_descriptors", open_files=hard, max_resident=settings.max_resident, fitting=fitting)
        return settings.model_copy(update={"max_resident": fitting})

    def give_back(self, pid: int) -> None:
        """Give a child the limit that this process had at first."""
        resource.prlimit(pid, resource.RLIMIT_NOFILE, self.first)
