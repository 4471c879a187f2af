"""The control groups of a worker: one of its own, and one below it for each session process.

Made at the worker's start, in the group that the worker was started in, so that limits of a unit or a container around
it hold for all of them. A worker that is killed leaves its groups behind; the next one there removes them.

In version 2, a group with processes can't pass controllers on to groups below it. So the worker moves to a group of its
own, next to those of its sessions. That works only if no other process is where it was started, as in a unit of systemd
with Delegate=yes.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skep_shared.errors import StartError
from skep_shared.isolation.session_limits import Limits
from skep_workers.host.control_groups.hierarchy import CPU, PROCESSES, WORKER, Hierarchy, members, write
from skep_workers.host.control_groups.removal import remove_worker
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.sandbox.kernel.control_groups import ControlGroup, own_groups

WORKER_SHARE: Final = 10  # of processor time, compared with one session: what all sessions wait for
_PASSED_ON: Final = "cgroup.subtree_control"


class WorkerGroups:
    """Makes the groups of sessions; without hierarchies it makes none."""

    def __init__(self, hierarchies: Sequence[Hierarchy] = ()) -> None:
        """`hierarchies`: the worker's own directories, which exist."""
        self._hierarchies = hierarchies
        self._made = 0

    @property
    def version(self) -> int | None:
        """The version of the interface, None if there are no groups."""
        return self._hierarchies[0].version if self._hierarchies else None

    @property
    def controllers(self) -> list[str]:
        """What the groups can limit."""
        return sorted({name for each in self._hierarchies for name in each.controllers})

    @property
    def directories(self) -> tuple[str, ...]:
        """The worker's own groups."""
        return tuple(str(each.directory) for each in self._hierarchies)

    def make(self, limits: Limits) -> SessionGroup | None:
        """Make a group for a process of a session with these limits, if groups can be made. Raises StartError."""
        if not self._hierarchies:
            return None
        self._made += 1
        group = SessionGroup([each.below(str(self._made)) for each in self._hierarchies], limits)
        try:
            group.make()
        except OSError as exc:
            raise StartError("session process", f"its control group can't be made: {exc}") from exc
        return group

    def close(self) -> bool:
        """Remove all groups; return False if one is still in use. Its processes have been killed: call this again."""
        for each in self._hierarchies:
            if each.version == 2:
                _move_back(each)
        left = [each for each in self._hierarchies if not remove_worker(each.directory)]
        return not left


def open_groups(version: int, name: str) -> WorkerGroups:
    """Make a worker's groups, with this name. Raises OSError, with the reason, if that is not possible."""
    own = own_groups(version)
    if not own:
        raise OSError(f"no control group of version {version} has a controller for memory, pids or cpu")
    opened: list[Hierarchy] = []
    try:
        for group in own:
            hierarchy = Hierarchy(group.directory / name, version, frozenset(group.controllers))
            hierarchy.directory.mkdir()
            opened.append(hierarchy)
            if version == 2:
                _move_to(hierarchy, group)
            _set_weight(hierarchy, hierarchy.directory, os.cpu_count() or 1)
    except OSError:
        for each in opened:
            remove_worker(each.directory)
        raise
    return WorkerGroups(opened)


def _set_weight(hierarchy: Hierarchy, directory: Path, share: int) -> None:
    """Set the weight of a group, for processor time, as a multiple of that of one session.

    The weight of a group is divided among the processors that it uses. So with as many shares as there are processors,
    the sessions together have on each of them what one process outside has.
    """
    files = hierarchy.files
    if CPU in hierarchy.controllers:
        write(directory / files.weight, str(min(files.most_weight, share * files.usual_weight)))


def _move_to(hierarchy: Hierarchy, before: ControlGroup) -> None:
    """Move this process to a group next to its sessions', and pass the controllers on to all of them."""
    inner = hierarchy.directory / WORKER
    inner.mkdir()
    write(inner / PROCESSES, str(os.getpid()))
    try:
        for directory in (before.directory, hierarchy.directory):
            write(directory / _PASSED_ON, " ".join(f"+{name}" for name in hierarchy.controllers))
    except OSError as exc:
        others = members(before.directory)
        _move_back(hierarchy)
        if others:
            pids = ", ".join(map(str, others[:5]))
            reason = f"{before.directory} has other processes ({pids}), so it can't pass controllers on"
            raise OSError(exc.errno, reason) from exc
        raise
    _set_weight(hierarchy, inner, WORKER_SHARE)


def _move_back(hierarchy: Hierarchy) -> None:
    """Undo `_move_to`, as far as the kernel permits."""
    before = hierarchy.directory.parent
    for directory in (hierarchy.directory, before):
        with contextlib.suppress(OSError):  # other workers use them
            write(directory / _PASSED_ON, " ".join(f"-{name}" for name in hierarchy.controllers))
    with contextlib.suppress(OSError):
        write(before / PROCESSES, str(os.getpid()))
