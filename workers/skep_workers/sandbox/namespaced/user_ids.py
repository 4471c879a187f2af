"""The user and group that a session has in tier `strict`: its own, as long as it lives.

The id is made from the pid of the session's process, which no other living process of the machine has. So nothing needs
to be allocated, and workers on one machine need not agree.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

# Between the ranges that systemd, container engines and users have: see systemd's UIDS-GIDS.md.
_FIRST: Final = 0x7000_0000
_COUNT: Final = 1 << 22  # the most pids that Linux can have
# In a user namespace with few ids: those that systemd gives to services that have no user.
_FEW_FIRST: Final = 61184
_FEW_COUNT: Final = 4336


class IdRange(NamedTuple):
    """The ids of sessions. With fewer than there are pids, two sessions can have the same one."""

    first: int
    size: int

    def of(self, pid: int) -> int:
        """Return the id of the session with this process."""
        return self.first + pid % self.size


def find_range() -> IdRange:
    """Return a range of ids that exist in this user namespace. Raises OSError."""
    maps = [Path(f"/proc/self/{name}").read_text() for name in ("uid_map", "gid_map")]
    for wanted in (IdRange(_FIRST, _COUNT), IdRange(_FEW_FIRST, _FEW_COUNT)):
        if all(_contains(text, wanted) for text in maps):
            return wanted
    raise OSError(f"the ids {_FEW_FIRST} to {_FEW_FIRST + _FEW_COUNT - 1} are not mapped in this user namespace")


def pid_outside() -> int:
    """Return this process's pid in the pid namespace that /proc is of."""
    return int(os.readlink("/proc/self"))  # noqa: PTH115 - not a path


def _contains(text: str, wanted: IdRange) -> bool:
    for line in text.splitlines():
        first, _, count = map(int, line.split())
        if first <= wanted.first and wanted.first + wanted.size <= first + count:
            return True
    return False
