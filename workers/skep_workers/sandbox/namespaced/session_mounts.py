"""What a session has of its own in the root directory of all sessions.

Its two directories are at the same paths as without a sandbox. /tmp and /dev/shm are in memory; the size of the first
is limited, because its files are not counted as the session's memory. Temporary files of Python are in the private
directory.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from skep_workers.sandbox.file_access import is_below, outermost
from skep_workers.sandbox.kernel.mounts import attach, copy_tree, mount_memory, mount_own_processes, text_of
from skep_workers.sandbox.namespaced.root_directory import ACCOUNTS, OWN, PROCESSES, TEMPORARY

_TEMPORARY_SIZE: Final = text_of("mode=1777,size=64m")
_OWN_SIZE: Final = text_of("mode=755")  # shared memory: as large as the system's, half of the memory
_PLACE_SIZE: Final = text_of("mode=755,size=64k")
SHARED_MEMORY: Final = f"{OWN}/shm"


class SessionMounts:
    """Makes the mounts of one session; prepared in the zygote, used in its forks."""

    def __init__(self, place: str, accounts: dict[str, bytes], shared: Iterable[str]) -> None:
        """`place`: the directory of the sessions' directories. accounts: the machine's, see `read_accounts`.

        shared: paths in the root directory, of which those below /tmp and the place must be attached again.
        """
        self._place = place
        self._accounts = accounts
        self._is_temporary = is_below(place, TEMPORARY)
        # Each call of os.makedirs would read, and so copy, more memory in a fork than these calls of os.mkdir.
        self._parents = _directories_below(TEMPORARY, place) if self._is_temporary else []
        # The copy of a directory's mount has those below it, too.
        self._hidden = outermost(path for path in shared if is_below(path, TEMPORARY) or is_below(path, place))

    def copy(self, directory: str, private: str) -> list[tuple[str, int]]:
        """Copy the mounts of a session's directories, before this process joins the root directory of sessions.

        directory: directly in the place. private: in a directory that is in the place.
        """
        return [(path, copy_tree(path)) for path in (directory, private)]

    def make(self, copied: list[tuple[str, int]], account: dict[str, bytes]) -> None:
        """Mount everything. `account`: lines to add to the files of accounts. Raises OSError."""
        mask = os.umask(0o022)  # a session of another user must be able to enter these directories
        try:
            self._make(copied, account)
        finally:
            os.umask(mask)

    def _make(self, copied: list[tuple[str, int]], account: dict[str, bytes]) -> None:
        again = [(path, copy_tree(path, is_recursive=True)) for path in self._hidden]
        mount_own_processes(PROCESSES)
        mount_memory(TEMPORARY, _TEMPORARY_SIZE)
        mount_memory(OWN, _OWN_SIZE)
        if not self._is_temporary:
            mount_memory(self._place, _PLACE_SIZE)
        for path in self._parents:
            os.mkdir(path)
        for path, tree in again:
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                os.makedirs(path)
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            attach(tree, path)
        (directory, _), (private, _) = copied
        for path in (directory, os.path.dirname(private), private):
            os.mkdir(path)
        for path, tree in copied:
            attach(tree, path)
        os.mkdir(SHARED_MEMORY)
        os.chmod(SHARED_MEMORY, 0o1777)  # noqa: S103 - as on every machine
        for name, text in self._accounts.items():
            descriptor = os.open(f"{OWN}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(descriptor, text + account.get(name, b""))
            os.close(descriptor)


def _directories_below(top: str, path: str) -> list[str]:
    """Return a path and the directories on the way to it, from below `top` on."""
    found = [] if path == top else [path]
    while found and os.path.dirname(found[0]) != top:
        found.insert(0, os.path.dirname(found[0]))
    return found


def read_accounts(user: tuple[int, int] | None) -> dict[str, bytes]:
    """Return the machine's accounts, by the name of the file in /etc; with this user and group, if they have none."""
    found = dict.fromkeys(ACCOUNTS, b"")
    for name in ACCOUNTS:
        with suppress(OSError):
            found[name] = Path(f"/etc/{name}").read_bytes()
    for name, number in zip(ACCOUNTS, user or (), strict=False):
        if not any(line.split(b":")[2:3] == [b"%d" % number] for line in found[name].splitlines()):
            found[name] += account_of(*(user or (0, 0)), TEMPORARY)[name]
    return found


def account_of(user: int, group: int, home: str) -> dict[str, bytes]:
    """Return the lines of a session's user and group, by the name of the file in /etc that they belong to."""
    return {
        "passwd": f"session:x:{user}:{group}::{home}:/bin/sh\n".encode(),
        "group": f"session:x:{group}:\n".encode(),
    }
