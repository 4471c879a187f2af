"""The files of a session: everything below its directory, by content, up to a quota.

The directory is scanned after each cell. A file with the same inode, size and times has the same content, unless its
times are so recent that a later write could have left the same ones; such a file is read again (git calls it racily
clean). A changed file is read at once, by the main thread: a forked child would see files that the next cell is writing
already, and reading costs less than the writing did. Not noticed: writes through a shared memory map of a file system
that doesn't record them in the file's times (tmpfs).

Symbolic links are kept as links and never followed, so nothing outside of the directory is read or written.
"""

import errno
import stat
from collections.abc import Iterator
from time import time_ns  # bound early: user code may patch time
from typing import Final, NamedTuple

from skep_shared.checkpoints.content_chunks import Digest, split
from skep_shared.checkpoints.manifest import LOST_PREFIX, Entry
from skep_shared.originals import open_file, os

DEFAULT_QUOTA_BYTES: Final = 64 * 1024 * 1024
MAX_ENTRIES: Final = 10_000
MOST_SCANNED: Final = 1000  # files, only to report which are not saved
RACY_NS: Final = 20_000_000  # file times come from the timer tick, at most 10 ms apart
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PART_PREFIX: Final = ".skep-part-"  # of what is on its way into the session's directory


class _Seen(NamedTuple):
    signature: tuple[int, ...]
    chunks: tuple[Digest, ...]
    is_racy: bool


class Workspace:
    """Reads and writes the files of one session."""

    def __init__(self) -> None:
        self._directory = ""
        self._seen: dict[str, _Seen] = {}
        self._empty: tuple[int, ...] | None = None  # the directory's signature when it was empty
        self._stored: frozenset[Digest] = frozenset()
        self.unstored: dict[Digest, bytes] = {}  # content that no stored checkpoint has yet
        self.lost: dict[str, str] = {}
        self._reported: dict[str, tuple[int, int]] = {}  # lost files as they were when they were reported
        self._found: dict[str, tuple[int, int]] = {}
        self.quota_bytes = DEFAULT_QUOTA_BYTES
        self.most_entries = MAX_ENTRIES

    def read(self) -> list[Entry]:
        """Return the present entries in the order of their paths; entries that can't be saved are in `lost`."""
        self.lost, self._found = {}, {}
        seen, self._seen = self._seen, {}
        entries: list[Entry] = []
        directory = self._directory_signature()
        if directory is not None and directory == self._empty:
            return entries
        room = self.quota_bytes
        for path, found in self._walk(self._directory, ""):
            if len(entries) >= self.most_entries:
                self._lose(path, f"there are more than {self.most_entries} files")
                break
            entry = self._entry(path, found, seen, room)
            if entry is not None:
                entries.append(entry)
                room -= entry.size
        self._empty = None if entries or self.lost else directory
        if self.unstored:  # without what has changed again since: a snapshot that is under way has its own references
            named = {name for entry in entries for name in entry.chunks}
            self.unstored = {name: data for name, data in self.unstored.items() if name in named}
        return entries

    def new_losses(self, *, is_unread: bool) -> list[str]:
        """Return the files that are not saved, with reasons; a file is reported again only after it has changed.

        is_unread: the directory has not been read since the last cell.
        """
        # In a large directory a later cell reports them: this one would have to wait.
        if is_unread and len(self._seen) <= MOST_SCANNED:
            self._find_losses()
        if not self.lost and not self._reported:
            return []
        before, self._reported = self._reported, self._found
        return [f"{path}: {reason}" for path, reason in self.lost.items() if before.get(path) != self._found.get(path)]

    def _find_losses(self) -> None:
        """Find the files that `read` would lose, without reading any content."""
        self.lost, self._found = {}, {}
        room = self.quota_bytes
        for count, (path, found) in enumerate(self._walk(self._directory, "")):
            try:
                status = found.stat(follow_symlinks=False)
            except OSError:
                continue
            if count >= self.most_entries:
                self._lose(path, f"there are more than {self.most_entries} files")
                return
            if not stat.S_ISREG(status.st_mode):
                continue
            if status.st_size > room:
                self._lose_over_quota(path, status, room)
            else:
                room -= status.st_size

    def _directory_signature(self) -> tuple[int, ...] | None:
        """Return a value that changes when a file appears in the session's directory; None if that is uncertain."""
        try:
            status = os.stat(self._directory)
        except OSError:
            return None
        return None if _is_racy(status) else _signature(status)

    def forget_saved(self, digests: frozenset[Digest]) -> None:
        """Forget content that a checkpoint has saved; if there is none, all files are read again."""
        self._stored = digests
        if not digests:
            self._seen.clear()
            self._empty = None
        self.unstored = {name: data for name, data in self.unstored.items() if name not in digests}

    def restore(self, entries: list[Entry], contents: dict[str, bytearray]) -> dict[str, str]:
        """Write the files into an empty directory; return those that could not be written, with reasons."""
        failed = {}
        for entry in entries:
            place = os.path.join(self._directory, entry.path)
            try:
                self._write(entry, place, contents)
            except (OSError, ValueError) as exc:
                failed[LOST_PREFIX + entry.path] = f"restoring it raised {type(exc).__name__}: {exc}"[:300]
        return failed

    def copy_to(self, entries: list[Entry], directory: int) -> None:
        """Copy the files of these entries into the empty directory of this descriptor.

        Raises OSError, and ValueError for a file that changes meanwhile.
        """
        for entry in entries:
            if entry.kind == "directory":
                os.mkdir(entry.path, dir_fd=directory)
                os.chmod(entry.path, entry.mode | stat.S_IRWXU, dir_fd=directory)
            elif entry.kind == "link":
                os.symlink(entry.target, entry.path, dir_fd=directory)
            else:
                self._copy(entry, directory)

    def _copy(self, entry: Entry, directory: int) -> None:
        source = _open_to_read(os.path.join(self._directory, entry.path))
        target = os.open(entry.path, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            before = _signature(os.fstat(source))
            left = entry.size
            while left and (copied := _copy_range(source, target, left)):
                left -= copied
            os.fchmod(target, entry.mode)
            os.utime(target, ns=(entry.modified_ns, entry.modified_ns))
            if left or _signature(os.fstat(source)) != before or self._seen[entry.path].signature != before:
                raise ValueError("a file has changed while it was copied")
        finally:
            os.close(source)
            os.close(target)

    def begin(self, directory: str) -> None:
        """Start with the files of this directory."""
        self._directory = directory

    def begin_as_twin(self, directory: str, entries: list[Entry]) -> None:
        """Continue in another directory, which has these files; their content is stored. Raises OSError."""
        self._directory = directory
        self.unstored = {}
        files = {entry.path: entry for entry in entries if entry.kind == "file"}
        self._seen = {
            path: _Seen(_signature(os.lstat(os.path.join(directory, path))), entry.chunks, is_racy=True)
            for path, entry in files.items()
        }

    def _walk(self, directory: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            with os.scandir(directory) as scanned:
                found = sorted(scanned, key=lambda entry: entry.name)
        except OSError as exc:
            if prefix:
                self._lose(prefix.rstrip("/"), f"it can't be read: {exc.strerror}")
            return
        for entry in found:
            if not prefix and entry.name.startswith(PART_PREFIX):
                continue
            yield prefix + entry.name, entry
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{prefix}{entry.name}/")

    def _entry(self, path: str, found: os.DirEntry[str], seen: dict[str, _Seen], room: int) -> Entry | None:
        try:
            status = found.stat(follow_symlinks=False)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISDIR(status.st_mode):
                return Entry(path, "directory", mode, 0, 0, (), "")
            if stat.S_ISLNK(status.st_mode):
                return Entry(path, "link", 0, 0, 0, (), os.readlink(found.path))
            if not stat.S_ISREG(status.st_mode):
                self._lose(path, "it is neither a file nor a directory nor a link")
                return None
            if status.st_size > room:
                self._lose_over_quota(path, status, room)
                return None
            chunks = self._chunks(path, found.path, status, seen.get(path))
            return Entry(path, "file", mode, status.st_mtime_ns, status.st_size, chunks, "")
        except FileNotFoundError:
            return None  # removed meanwhile, by a child process or a thread
        except OSError as exc:
            self._lose(path, f"it can't be read: {exc.strerror}")
            return None

    def _chunks(self, path: str, place: str, status: os.stat_result, seen: _Seen | None) -> tuple[Digest, ...]:
        signature = _signature(status)
        if seen is not None and seen.signature == signature and not seen.is_racy:
            self._seen[path] = seen
            return seen.chunks
        is_racy = _is_racy(status)
        names = []
        for name, part in split(_content(place)):
            if name not in self._stored and name not in self.unstored:
                self.unstored[name] = bytes(part)
            names.append(name)
        self._seen[path] = _Seen(signature, tuple(names), is_racy)
        return tuple(names)

    def _lose_over_quota(self, path: str, status: os.stat_result, room: int) -> None:
        limit = f"the quota of {self.quota_bytes} bytes has {max(room, 0)} left"
        self._lose(path, f"it has {status.st_size} bytes, {limit}", (status.st_size, status.st_mtime_ns))

    def _lose(self, path: str, reason: str, found: tuple[int, int] = (0, 0)) -> None:
        # File names are bytes; the reason travels as text.
        shown = LOST_PREFIX + path.encode("utf-8", "backslashreplace").decode()
        self.lost[shown], self._found[shown] = reason, found

    def _write(self, entry: Entry, place: str, contents: dict[str, bytearray]) -> None:
        if not _is_inside(entry.path):
            raise ValueError(f"{entry.path!r} is not below the session's directory")
        if entry.kind == "directory":
            os.mkdir(place)
            os.chmod(place, entry.mode | stat.S_IRWXU)
        elif entry.kind == "link":
            os.symlink(entry.target, place)
        else:
            handle = os.open(place, _NEW_FILE, 0o600)
            with open_file(handle, "wb", buffering=0) as file:
                view = memoryview(contents[entry.path])
                while view:
                    view = view[file.write(view) :]
                os.fchmod(handle, entry.mode)
                os.utime(handle, ns=(entry.modified_ns, entry.modified_ns))
                self._seen[entry.path] = _Seen(_signature(os.fstat(handle)), entry.chunks, is_racy=True)


def _content(place: str) -> bytes:
    with open_file(_open_to_read(place), "rb", buffering=0) as file:
        return file.readall()


def _open_to_read(place: str) -> int:
    # A FIFO that has replaced the file meanwhile must not hang the session.
    return os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _copy_range(source: int, target: int, size: int) -> int:
    """Copy from the present offsets; the file system may share the data of both files."""
    try:
        return os.copy_file_range(source, target, size)
    except OSError as exc:
        if exc.errno not in {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    return os.sendfile(target, source, None, size)


def _is_racy(status: os.stat_result) -> bool:
    """Return whether a later change could leave the same times; to be called before the content is read."""
    # After the clock was set back, times may be in the future: such a file is racy, too.
    return max(status.st_mtime_ns, status.st_ctime_ns) > time_ns() - RACY_NS


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _is_inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and all(part not in {"", ".", ".."} for part in path.split("/"))
