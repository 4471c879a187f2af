"""The directories of a shard's sessions on one machine, and which worker may use each of them now.

A session has the same path wherever it lives, so two workers on one machine may want the same directory: a worker that
lost a session may not know it yet, and processes that it started may still run. Beside the directories, `.owners/SID`
says who uses that of session SID:

- It is read and written only under its lock (flock), which is held for moments, never while waiting.
- A worker clears, makes or removes a directory only under that lock, and only while its own token is in the file.
- Who takes a directory over first writes its own token, keeping the processes of the owner before, and ends these.
- Nothing is removed in place: a directory is moved to `.removed` and emptied there, so a process that still has it as
  its working directory can't touch the next one of that path.

`.lock` is held shared by every worker that uses the place; it says in which pid space they are, see `join`.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Final, NamedTuple, Self

import msgpack

from skep_shared.process_trees import ProcessId, is_running, kill_tree, pid_space, wait_for_end

MOST_TRIES: Final = 100
JOIN_SECONDS: Final = 0.05  # between two tries
LEAVE_TRIES: Final = 3  # of a worker, which others may wait for
CLEAN_TRIES: Final = 50  # of one that cleans up after a worker that was killed
LEAVE_SECONDS: Final = 0.02  # between two tries
END_SECONDS: Final = 2.0  # for processes that were killed to end
OWNER_BYTES: Final = 64 * 1024
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryOwner(NamedTuple):
    """Who uses a directory: the token of a claim, its rank among all claims of the session, the worker, and processes.

    rank: when the session was created and the claim's epoch: a later claim has a higher one.
    processes: those that may use the directory, of earlier owners too until they have ended.
    """

    token: str
    rank: tuple[int, int]
    worker: ProcessId
    processes: tuple[ProcessId, ...] = ()


class OwnerFile:
    """A file that says who uses a directory, open and locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)  # and with it the lock ends

    def read(self) -> DirectoryOwner | None:
        """Return the owner; None if there is none, or the machine went down while it was written."""
        try:
            token, rank, worker, processes = msgpack.unpackb(os.pread(self._descriptor, OWNER_BYTES, 0))
            return DirectoryOwner(
                token, (rank[0], rank[1]), ProcessId(*worker), tuple(ProcessId(*each) for each in processes)
            )
        except (ValueError, TypeError, IndexError, msgpack.UnpackException):
            return None

    def write(self, owner: DirectoryOwner) -> None:
        """Make this the owner."""
        packed = msgpack.packb(owner)
        os.pwrite(self._descriptor, packed, 0)
        os.ftruncate(self._descriptor, len(packed))

    def remove(self) -> None:
        """Remove the file: nobody uses the directory."""
        self._path.unlink(missing_ok=True)


class SessionDirectories:
    """The directories below one place, which belongs to one shard."""

    def __init__(self, place: Path) -> None:
        self.place: Final = place
        self._owners = place / ".owners"
        self._removed = place / ".removed"

    def path(self, session_id: str) -> Path:
        """Return the directory of a session; its id is a file name, see limits.check_session_id."""
        return self.place / session_id

    def lock(self, session_id: str, *, must_exist: bool = False) -> OwnerFile:
        """Open and lock the file that says who uses a session's directory. Raise BlockingIOError if it is locked.

        must_exist: raise FileNotFoundError where there is none, instead of making one.
        """
        path = self._owners / session_id
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
            os.close(descriptor)  # its last owner has removed it between the two calls
        raise BlockingIOError(errno.EAGAIN, "the file is removed again and again", str(path))

    def make(self, session_id: str) -> Path:
        """Make a session's directory, which must not exist. Only under its lock."""
        path = self.path(session_id)
        path.mkdir(mode=0o700)
        return path

    def discard(self, session_id: str) -> Path | None:
        """Move what is in the place of a session's directory away; return where it can be emptied. Only under its lock.

        None if there is nothing.
        """
        target = self._removed / secrets.token_hex(8)
        for _ in range(MOST_TRIES):
            try:
                self.path(session_id).rename(target)
            except FileNotFoundError:
                if not os.path.lexists(self.path(session_id)):
                    return None
                self._removed.mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                return target
        raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(self._removed))

    def remove_abandoned(self) -> None:
        """Remove the directories of workers that have ended, once the processes that they left have ended too."""
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
        """Begin to use the place; return the descriptor that holds it. Raise OSError.

        Raise FileExistsError if it is used by workers that see other pids, in another container or on another machine:
        their processes could not be ended from here, nor ours from there.
        """
        path = self.place / ".lock"
        for _ in range(MOST_TRIES):
            try:
                self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(path, _OPEN, 0o600)
            except FileNotFoundError:  # another one that leaves has removed it between the two
                continue
            try:
                if _locks(descriptor, fcntl.LOCK_EX):  # no other worker uses it
                    os.pwrite(descriptor, pid_space().encode(), 0)
                if not _locks(descriptor, fcntl.LOCK_SH) or not _is_file_of(path, descriptor):
                    os.close(descriptor)  # another one is leaving, and removes the place
                    sleep(JOIN_SECONDS)
                    continue
                if os.pread(descriptor, OWNER_BYTES, 0).decode() != pid_space():
                    raise FileExistsError(errno.EEXIST, "workers with other pids use it", str(self.place))
            except OSError:
                os.close(descriptor)
                raise
            return descriptor
        raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(self.place))

    def leave(self, descriptor: int | None = None) -> None:
        """End the use of the place that began with this descriptor, and remove the place if no worker uses it.

        Without a descriptor: clean up after a worker that was killed.
        """
        with contextlib.suppress(OSError):
            held = os.open(self.place / ".lock", _OPEN & ~os.O_CREAT) if descriptor is None else descriptor
            try:
                # Several may leave at once, and a process that is killed loses its lock a little before it has ended.
                for _ in range(LEAVE_TRIES if descriptor is not None else CLEAN_TRIES):
                    if _locks(held, fcntl.LOCK_EX) and self._remove_place(held):
                        break
                    fcntl.flock(held, fcntl.LOCK_UN)
                    sleep(LEAVE_SECONDS)
            finally:
                os.close(held)

    def _remove_place(self, held: int) -> bool:
        """Remove the place, whose lock file is held alone; return whether there is nothing left to remove."""
        lock = self.place / ".lock"
        if lock.exists() and not _is_file_of(lock, held):
            return True  # workers have begun to use it since it was removed
        self.remove_abandoned()
        try:
            for folder in (self._owners, self._removed):
                with contextlib.suppress(FileNotFoundError):
                    folder.rmdir()
            lock.unlink(missing_ok=True)
            self.place.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # something is left in it
            return False
        with contextlib.suppress(OSError):  # other shards use it
            self.place.parent.rmdir()
        return True


def empty(path: Path) -> None:
    """Remove what `discard` has moved away, as far as possible. Symbolic links are removed, never followed."""
    try:
        shutil.rmtree(path)  # shutil.rmtree.avoids_symlink_attacks holds on Linux
    except NotADirectoryError:  # a cell has put something else in the directory's place
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
    """Return whether the open file still has this name."""
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from sorted(entry.name for entry in folder.iterdir())
