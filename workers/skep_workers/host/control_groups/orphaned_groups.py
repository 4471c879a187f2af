"""The groups that a killed worker has left behind: another worker removes them, and ends what is still in them."""

import re
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from skep_shared.process_trees import ProcessId, is_running
from skep_workers.host.control_groups.removal import remove_worker
from skep_workers.sandbox.kernel.control_groups import own_groups

# A pid means something only in its pid namespace, and workers of several ones may see the same groups.
_NAME: Final = re.compile(r"skep-(?P<space>\d+)-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]+")
_END_SECONDS: Final = 2.0  # for processes that were killed
_AGAIN_SECONDS: Final = 0.01


def name_for(worker: ProcessId) -> str:
    """Return a new name for the groups of a worker, which says whose they are."""
    return f"skep-{_pid_space()}-{worker.pid}-{worker.started}-{secrets.token_hex(4)}"


def remove_orphaned() -> list[Path]:
    """Remove the groups of ended workers next to which this process's own would be; return those that are in use.

    It blocks for up to two seconds, while processes end that it has killed. The zygote of such a worker is not killed:
    it still removes the worker's directories.
    """
    ends_at = time.monotonic() + _END_SECONDS
    left = [group for directory in _parents() for group in _orphaned(directory)]
    while left and time.monotonic() < ends_at:
        left = [group for group in left if not remove_worker(group)]
        if left:
            time.sleep(_AGAIN_SECONDS)
    return left


def _parents() -> Iterable[Path]:
    return {group.directory for version in (1, 2) for group in own_groups(version)}


def _orphaned(directory: Path) -> Iterator[Path]:
    try:
        found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return
    for path in found:
        if (whose := _owner(path)) is not None and not is_running(whose):
            yield path


def _owner(directory: Path) -> ProcessId | None:
    """Return the worker that has made a group, None if its pid means nothing here."""
    named = _NAME.fullmatch(directory.name)
    if named is None or int(named["space"]) != _pid_space():
        return None
    return ProcessId(int(named["pid"]), int(named["started"]))


def _pid_space() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
