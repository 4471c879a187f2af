"""Where a worker can make control groups, and what the files of a group are called in both versions of the interface.

Version 2 has one hierarchy for all controllers, version 1 often one for each.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEMORY: Final = "memory"
PIDS: Final = "pids"
CPU: Final = "cpu"

WORKER: Final = "worker"  # in a worker's own group: the group of its process, in version 2


@dataclass(frozen=True, slots=True)
class FileNames:
    """The files of a group. usual_weight: of a new group, for processor time; most_weight: the largest there can be.

    entry: a process of one thread that writes "0" to it enters the group. In version 1, that is the file for threads:
    for the one for processes the kernel stops the forks and ends of all processes, and on a busy machine this took up
    to 30 ms.
    """

    entry: str
    weight: str
    usual_weight: int
    most_weight: int
    memory_limits: tuple[str, ...]
    memory_options: tuple[tuple[str, str], ...]
    memory_events: str
    memory_peak: str


PROCESSES: Final = "cgroup.procs"
FILES: Final = {
    1: FileNames(
        entry="tasks",
        weight="cpu.shares",
        usual_weight=1024,
        most_weight=262_144,
        memory_limits=("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        memory_options=(),
        memory_events="memory.oom_control",
        memory_peak="memory.max_usage_in_bytes",
    ),
    2: FileNames(
        entry=PROCESSES,
        weight="cpu.weight",
        usual_weight=100,
        most_weight=10_000,
        memory_limits=("memory.max",),
        memory_options=(("memory.swap.max", "0"), ("memory.oom.group", "1")),
        memory_events="memory.events",
        memory_peak="memory.peak",
    ),
}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The directory in which a worker's own group is, or is to be made, and the controllers that apply there."""

    directory: Path
    version: int
    controllers: frozenset[str]

    @property
    def files(self) -> FileNames:
        """What the files of a group are called."""
        return FILES[self.version]

    def below(self, name: str) -> "Hierarchy":
        """Return the same for a group in it."""
        return Hierarchy(self.directory / name, self.version, self.controllers)


def write(path: Path, text: str) -> None:
    """Write to a file of a group, which must exist. Raises OSError with the kernel's reason."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def counter(text: bytes, name: str) -> int:
    """Return a counter from the text of an events file, 0 if it isn't there."""
    for line in text.splitlines():
        key, _, number = line.partition(b" ")
        if key == name.encode():
            return int(number)
    return 0


def members(directory: Path) -> list[int]:
    """Return the pids of the processes in a group itself; none if it does not exist."""
    try:
        return [int(line) for line in (directory / PROCESSES).read_text().split()]
    except OSError:
        return []
