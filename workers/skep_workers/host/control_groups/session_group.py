"""The control group of one session process and of everything that it starts."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from skep_shared.isolation.session_limits import Excess, Limits
from skep_workers.host.control_groups.hierarchy import CPU, MEMORY, PIDS, PROCESSES, Hierarchy, counter, write
from skep_workers.host.control_groups.removal import remove

EVENTS_BYTES: Final = 4096
PEAK_SLACK_BYTES: Final = 1024 * 1024  # the kernel counts in steps, and refuses the step that doesn't fit


class _Enforced(NamedTuple):
    """A limit that the kernel enforces.

    events: the descriptor of the file that counts what it has refused. at_first: its text then, which says that it has
    refused nothing. peak: the file with the most that was used.
    """

    limit: int
    events: int
    at_first: bytes
    peak: Path


class SessionGroup:
    """A group in each hierarchy that the session needs. It exists from `make` to `remove`."""

    def __init__(self, hierarchies: Sequence[Hierarchy], limits: Limits) -> None:
        """`hierarchies`: the group's own directories, which are to be made."""
        self._limits = limits
        self._hierarchies = [each for each in hierarchies if each.controllers & _needed(limits)]
        self._memory: _Enforced | None = None
        self._processes: _Enforced | None = None

    def make(self) -> None:
        """Make the group with its limits. Raises OSError; then nothing is left of it."""
        try:
            for hierarchy in self._hierarchies:
                hierarchy.directory.mkdir()
                self._set_limits(hierarchy)
        except OSError:
            self.remove()
            raise

    def _set_limits(self, hierarchy: Hierarchy) -> None:
        directory, files = hierarchy.directory, hierarchy.files
        if (memory := self._limits.memory_bytes) is not None and MEMORY in hierarchy.controllers:
            required, *optional = files.memory_limits
            write(directory / required, str(memory))
            for name in optional:  # absent without swap accounting
                with contextlib.suppress(FileNotFoundError):
                    write(directory / name, str(memory))
            for name, value in files.memory_options:
                with contextlib.suppress(FileNotFoundError):
                    write(directory / name, value)
            self._memory = _enforced(memory, directory / files.memory_events, directory / files.memory_peak)
        if (processes := self._limits.processes) is not None and PIDS in hierarchy.controllers:
            write(directory / "pids.max", str(processes))
            self._processes = _enforced(processes, directory / "pids.events", directory / "pids.peak")

    @property
    def enforced(self) -> frozenset[str]:
        """The names of the limits that the kernel enforces in this group."""
        names = {"memory_bytes": self._memory, "processes": self._processes}
        return frozenset(name for name, enforced in names.items() if enforced is not None)

    def open_entries(self) -> list[int]:
        """Open what a process with one thread writes "0" to, to enter the group; the caller closes it.

        The kernel asks for the rights of the process that has opened it, so a sandbox doesn't matter. Raises OSError.
        """
        entries: list[int] = []
        try:
            for each in self._hierarchies:
                entries.append(os.open(each.directory / each.files.entry, os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401
        except OSError:
            for entry in entries:
                os.close(entry)
            raise
        return entries

    def take_in(self, pid: int) -> None:
        """Move a process with all its threads into the group. What it uses already remains counted elsewhere.

        Raises OSError.
        """
        for each in self._hierarchies:
            write(each.directory / PROCESSES, str(pid))

    def excess(self) -> Excess | None:
        """Return the limit that the kernel has enforced, if any: by refusing a process, or by killing one."""
        for name, enforced, event in (
            ("memory_bytes", self._memory, "oom_kill"),
            ("processes", self._processes, "max"),
        ):
            if enforced is None or (text := _read(enforced.events)) == enforced.at_first:
                continue
            if counter(text, event):
                used = _number(enforced.peak)
                # Otherwise it was the limit of a group around the worker's.
                slack = PEAK_SLACK_BYTES if name == "memory_bytes" else 0
                if used is None or used >= enforced.limit - slack:
                    return Excess(name, enforced.limit if used is None else used, enforced.limit)
        return None

    def remove(self) -> bool:
        """Remove the group; return False if a process is still in it, which has been killed: call this again then."""
        for enforced in (self._memory, self._processes):
            if enforced is not None:
                os.close(enforced.events)
        self._memory = self._processes = None
        return remove(each.directory for each in self._hierarchies)


def _needed(limits: Limits) -> set[str]:
    """Return the controllers that a session with these limits needs. Each group costs the kernel memory and time."""
    needed = {CPU}
    if limits.memory_bytes is not None:
        needed.add(MEMORY)
    if limits.processes is not None:
        needed.add(PIDS)
    return needed


def _read(events: int) -> bytes:
    """Return the text of an events file, nothing if its group was removed from outside."""
    try:
        return os.pread(events, EVENTS_BYTES, 0)
    except OSError:
        return b""


def _enforced(limit: int, events: Path, peak: Path) -> _Enforced:
    descriptor = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
    return _Enforced(limit, descriptor, _read(descriptor), peak)


def _number(path: Path) -> int | None:
    """Return the number in a file, None if the kernel doesn't have the file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
