"""The directories of a shard's sessions on one machine, and which worker may use each of them now.

A session has the same path on every worker, so two workers on one machine may want the same directory: a worker that
has lost a session may not have noticed yet, and processes that it started may still run. Next to the directories, the
file `.owners/SID` names the owner of the directory of session SID:

- It is read and written only under its lock (flock), which is held briefly, never while waiting.
- A worker clears, makes or removes a directory only under that lock, and only while the file contains its own token.
- A worker that takes over a directory first writes its own token, keeps the list of the previous owner's processes in
  the file, and then ends these processes.
- Nothing is removed in place. A directory is moved to `.removed` and emptied there, so a process that still has it as
  its working directory can't change the next directory of that path.

A session also has a private directory, `.tmp/HASH`, for the packages that it installs and, in a sandbox, for temporary
files, which no checkpoint keeps. It is discarded with the session's directory. A hash of the session's id is its name:
programs make unix sockets in it, whose paths have at most 107 characters, and an id may have 200.

Every worker that uses the directories holds a shared lock on `.lock`, which contains their pid space, see `join`.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Final, NamedTuple, Self

import msgpack

from skep_shared.full_ids import file_name_of
from skep_shared.process_trees import ProcessId, is_running, kill_tree, pid_space, wait_for_end

MOST_TRIES: Final = 100
JOIN_SECONDS: Final = 0.05  # between two tries
LEAVE_TRIES: Final = 3  # for a worker that ends, because others may be waiting for it
CLEAN_TRIES: Final = 50  # for cleaning up after a worker that was killed
LEAVE_SECONDS: Final = 0.02  # between two tries
END_SECONDS: Final = 2.0  # for processes that were killed to end
OWNER_BYTES: Final = 64 * 1024
PRIVATE: Final = ".tmp"
PRIVATE_NAME_BYTES: Final = 8  # short, but enough that no id can be found whose directory is another session's
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryOwner(NamedTuple):
    """The owner of a directory: the token of a claim, its rank among the session's claims, the worker, the processes.

    rank: the session's creation time and the claim's epoch; a later claim has a higher rank.
    processes: all processes that may use the directory, including those of earlier owners that have not ended.
    """

    token: str
    rank: tuple[int, int]
    worker: ProcessId
    processes: tuple[ProcessId, ...] = ()


class OwnerFile:
    """The open and locked file that names the owner of a directory."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)  # which also releases the lock

    def read(self) -> DirectoryOwner | None:
        """Return the owner; None if there is none, or if the machine crashed while it was written."""
        try:
            token, rank, worker, processes = msgpack.unpackb(os.pread(self._descriptor, OWNER_BYTES, 0))
            return DirectoryOwner(
                token, (rank[0], rank[1]), ProcessId(*worker), tuple(ProcessId(*each) for each in processes)
            )
        except (ValueError, TypeError, IndexError, msgpack.UnpackException):
            return None

    def write(self, owner: DirectoryOwner) -> None:
        """Store this owner."""
        packed = msgpack.packb(owner)
        os.pwrite(self._descriptor, packed, 0)
        os.ftruncate(self._descriptor, len(packed))

    def remove(self) -> None:
        """Remove the file, because the directory has no owner."""
        self._path.unlink(missing_ok=True)


class SessionDirectories:
    """The session directories of one shard, all in one parent directory, the place."""

    def __init__(self, place: Path) -> None:
        self.place: Final = place
        self._owners = place / ".owners"
        self._removed = place / ".removed"
        self._private = place / PRIVATE

    def path(self, session_id: str) -> Path:
        """Return the directory of a session; the name is made from its id, see full_ids.py."""
        return self.place / file_name_of(session_id)

    def lock(self, session_id: str, *, must_exist: bool = False) -> OwnerFile:
        """Open and lock the owner file of a session's directory. Raise BlockingIOError if it is locked.

        must_exist: raise FileNotFoundError if the file doesn't exist, instead of creating it.
        """
        path = self._owners / file_name_of(session_id)
        for _ in range(MOST_TRIES):
            try:
                descriptor = os.open(path, _OPEN & ~os.O_CREAT if must_exist else _OPEN, 0o600)
            except FileNotFoundError:
                if must_exist:
                    raise
                self._owners.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file_of(path, descriptor):
                    return OwnerFile(path, descriptor)
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last owner has removed the file between the two calls
        raise BlockingIOError(errno.EAGAIN, "other workers keep removing the file", str(path))

    def make(self, session_id: str) -> Path:
        """Create a session's directory, which must not exist. Call this only under its lock."""
        path = self.path(session_id)
        path.mkdir(mode=0o700)
        return path

    def discard(self, session_id: str) -> list[Path]:
        """Move a session's directories away, and return their new paths, where they can be emptied.

        Call this only under its lock.
        """
        directory = self.path(session_id)
        moved = (self._move_away(path) for path in (directory, Path(private_path(str(directory)))))
        return [path for path in moved if path is not None]

    def _move_away(self, path: Path) -> Path | None:
        """Move a directory to `.removed` and return its new path; None if it doesn't exist."""
        target = self._removed / secrets.token_hex(8)
        for _ in range(MOST_TRIES):
            try:
                path.rename(target)
            except FileNotFoundError:
                if not os.path.lexists(path):
                    return None
                self._removed.mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                return target
        raise FileNotFoundError(errno.ENOENT, "other workers keep removing it", str(self._removed))

    def remove_abandoned(self) -> None:
        """End the processes that ended workers have left, and remove the directories of those workers."""
        handles: list[int] = []
        for session_id in _names(self._owners):
            with contextlib.suppress(OSError), self.lock(session_id, must_exist=True) as file:
                owner = file.read()
                if owner is not None and not is_running(owner.worker):
                    handles += [handle for process in owner.processes for handle in kill_tree(process)]
        wait_for_end(handles, END_SECONDS)
        for session_id in _names(self._owners):
            with contextlib.suppress(OSError), self.lock(session_id, must_exist=True) as file:
                owner = file.read()
                if owner is None or not any(map(is_running, (owner.worker, *owner.processes))):
                    self.discard(session_id)
                    file.remove()
        for name in _names(self._removed):
            empty(self._removed / name)

    def join(self) -> int:
        """Begin to use the place; return the descriptor that holds the shared lock. Raise OSError.

        Raise FileExistsError if the place is used by workers that see other pids, in another container or on another
        machine: these workers and this one could not end each other's processes.
        """
        path = self.place / ".lock"
        for _ in range(MOST_TRIES):
            try:
                self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(path, _OPEN, 0o600)
            except FileNotFoundError:  # a worker that was leaving has removed the place between the two calls
                continue
            try:
                if _locks(descriptor, fcntl.LOCK_EX):  # no other worker uses it
                    os.pwrite(descriptor, pid_space().encode(), 0)
                if not _locks(descriptor, fcntl.LOCK_SH) or not _is_file_of(path, descriptor):
                    os.close(descriptor)  # another worker is leaving and removes the place
                    sleep(JOIN_SECONDS)
                    continue
                if os.pread(descriptor, OWNER_BYTES, 0).decode() != pid_space():
                    raise FileExistsError(errno.EEXIST, "used by workers that see other pids", str(self.place))
            except OSError:
                os.close(descriptor)
                raise
            return descriptor
        raise FileNotFoundError(errno.ENOENT, "other workers keep removing it", str(self.place))

    def leave(self, descriptor: int | None = None) -> None:
        """Release the descriptor that `join` returned, and remove the place if no worker uses it.

        Without a descriptor, clean up after a worker that was killed.
        """
        with contextlib.suppress(OSError):
            held = os.open(self.place / ".lock", _OPEN & ~os.O_CREAT) if descriptor is None else descriptor
            try:
                # Several workers may leave at once, and a killed process releases its lock a little before it ends.
                for _ in range(LEAVE_TRIES if descriptor is not None else CLEAN_TRIES):
                    if _locks(held, fcntl.LOCK_EX) and self._remove_place(held):
                        break
                    fcntl.flock(held, fcntl.LOCK_UN)
                    sleep(LEAVE_SECONDS)
            finally:
                os.close(held)

    def _remove_place(self, held: int) -> bool:
        """Remove the place, while holding its lock exclusively; return whether nothing is left to remove."""
        lock = self.place / ".lock"
        if lock.exists() and not _is_file_of(lock, held):
            return True  # workers have begun to use it since it was removed
        self.remove_abandoned()
        try:
            for folder in (self._owners, self._removed, self._private):
                with contextlib.suppress(FileNotFoundError):
                    folder.rmdir()
            lock.unlink(missing_ok=True)
            self.place.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # the place is not empty
            return False
        with contextlib.suppress(OSError):  # other shards may use the parent directory
            self.place.parent.rmdir()
        return True


def make_private_directory(directory: Path) -> Path:
    """Make the private directory of the session with this directory, and return its path. Raises OSError."""
    private = Path(private_path(str(directory)))
    private.parent.mkdir(mode=0o700, exist_ok=True)
    private.mkdir(mode=0o700, exist_ok=True)
    return private


def private_path(directory: str) -> str:
    """Return the path of the private directory of the session with this directory."""
    place, _, name = directory.rpartition("/")
    hashed = hashlib.blake2b(os.fsencode(name), digest_size=PRIVATE_NAME_BYTES).hexdigest()
    return f"{place}/{PRIVATE}/{hashed}"


def empty(path: Path) -> None:
    """Remove a directory that `discard` has moved, as far as possible. Symbolic links are removed, never followed."""
    try:
        shutil.rmtree(path)  # shutil.rmtree.avoids_symlink_attacks holds on Linux
    except NotADirectoryError:  # a cell has replaced the directory by a file
        path.unlink(missing_ok=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        if path.is_symlink():
            path.unlink(missing_ok=True)


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_of(path: Path, descriptor: int) -> bool:
    """Return whether the path still refers to the open file."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from sorted(entry.name for entry in folder.iterdir())
