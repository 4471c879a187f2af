"""Access to a session's files for clients.

Listing, reading and writing are operations, which also work while a cell runs. Removing is a cell, so that it has its
place in the order of cells. Paths must be below the session's directory. A cell could access any other path, so this is
no security boundary; it detects mistakes.

An uploaded file arrives in pieces, in a temporary file that no checkpoint saves. It is renamed once all of its content
is stored. The host requests these steps, see host/residency/uploads.py.
"""

import builtins
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from skep_shared.originals import open_file, os, time
from skep_shared.states import PAGE_OF_FILES
from skep_workers.session.checkpoint.surroundings.workspace import DEFAULT_QUOTA_BYTES, MAX_ENTRIES, PART_PREFIX
from skep_workers.session.runtime.namespace import NamespaceManager

BUILTIN: Final = "__skep_files__"
MAX_READ_BYTES: Final = 1024 * 1024
FORGOTTEN_SECONDS: Final = 600.0  # after which an unfinished upload is removed


class WorkspaceCalls:
    """The files below one directory, for the cells and operations that the client's `session.files` makes."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self._directory = ""
        self.quota_bytes = DEFAULT_QUOTA_BYTES
        self.on_placed: Callable[[list[list[Any]]], int] = lambda _files: 0
        self.handlers: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
            "files.list": self._list,
            "files.read": self._read,
            "files.write": self._write,
            "files.prepare": self._prepare,
            "files.place": self._rename_upload,
            "files.drop": self._drop,
        }

    def begin(self, directory: str) -> None:
        """Start, or continue, in this directory."""
        self._directory = directory

    def install(self) -> None:
        """Make it available to cells, without a name in the user's namespace."""
        setattr(builtins, BUILTIN, self)

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with its content."""
        place = self._place(path)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.remove(place)

    def _write(self, question: dict[str, Any]) -> None:
        """Write a piece of an upload."""
        part, offset = self._part(question["upload"]), question["offset"]
        if not offset:
            self._check_room(question["path"], question["bytes"])  # before megabytes are sent in vain
            self._forget_parts()
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            if os.fstat(handle).st_size < offset:
                raise ValueError("the earlier pieces of the upload no longer exist")
            view = memoryview(question["data"])
            while view:
                written = os.pwrite(handle, view, offset)
                view, offset = view[written:], offset + written
            os.ftruncate(handle, offset)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        finally:
            os.close(handle)

    def _prepare(self, question: dict[str, Any]) -> dict[str, Any]:
        """Check that an upload can be renamed to its path; return its mode, and its directories with their modes."""
        path, part = question["path"], self._part(question["upload"])
        place = self._place(path)
        if os.path.normpath(path) != path or path.startswith(PART_PREFIX):
            raise ValueError(f"a checkpoint can't have a file with the path {path!r}")
        self._check_room(path, question["bytes"])
        if os.path.isdir(place) and not os.path.islink(place):
            raise IsADirectoryError(f"{path!r} is a directory")
        above = path.split("/")[:-1]
        directories = ["/".join(above[: depth + 1]) for depth in range(len(above))]
        made: list[str] = []
        try:
            for directory in directories:
                whole = os.path.join(self._directory, directory)
                if not os.path.isdir(whole):
                    os.mkdir(whole)
                    made.append(directory)
            home = os.path.realpath(self._directory)
            if not (os.path.realpath(os.path.dirname(place)) + os.sep).startswith(home + os.sep):
                raise ValueError(f"a link leads from {path!r} out of the session's directory")
            modes = [stat.S_IMODE(os.lstat(os.path.join(self._directory, each)).st_mode) for each in directories]
            status = os.lstat(part)
            if status.st_size != question["bytes"]:
                raise ValueError(f"{question['bytes']} bytes were expected, {status.st_size} are there")
        except BaseException:
            self._unmake(made)
            raise
        found = [[each, mode] for each, mode in zip(directories, modes, strict=True)]
        return {"mode": stat.S_IMODE(status.st_mode), "directories": found, "made": made}

    def _rename_upload(self, question: dict[str, Any]) -> int:
        """Rename an upload to its path; return the last cell whose state may have been read without it."""
        part, place = self._part(question["upload"]), self._place(question["path"])
        os.utime(part, ns=(question["modified_ns"], question["modified_ns"]))
        os.replace(part, place)
        return self.on_placed(question["files"]) if question["files"] else 0

    def _drop(self, question: dict[str, Any]) -> None:
        """Remove the upload, and the directories that were made for it."""
        with suppress(FileNotFoundError):
            os.unlink(self._part(question["upload"]))
        self._unmake(question["made"])

    def _unmake(self, directories: list[str]) -> None:
        with suppress(OSError):  # a directory may have other content by now
            for directory in reversed(directories):
                os.rmdir(os.path.join(self._directory, directory))

    def _check_room(self, path: str, size: int) -> None:
        others = [found for found in self._files() if found["path"] != path]
        left = self.quota_bytes - sum(found["bytes"] for found in others)
        if size > left:
            limit = f"the quota of {self.quota_bytes} bytes has {max(left, 0)} left"
            raise OSError(f"{path!r} has {size} bytes, {limit}: remove files, or raise workspace_quota_bytes")
        if len(others) >= MAX_ENTRIES:
            raise OSError(f"there are {len(others)} files already, and {MAX_ENTRIES} can be saved")

    def _forget_parts(self) -> None:
        for name in os.listdir(self._directory):
            if name.startswith(PART_PREFIX):
                part = os.path.join(self._directory, name)
                with suppress(OSError):
                    if os.lstat(part).st_mtime < time.time() - FORGOTTEN_SECONDS:
                        os.unlink(part)

    def _part(self, upload: str) -> str:
        if not upload.isalnum():
            raise ValueError(f"not an id of an upload: {upload!r}")
        return os.path.join(self._directory, PART_PREFIX + upload)

    def _list(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a page of the files, by path, from a number on; a full page may be followed by another one."""
        start = question.get("start", 0)
        return sorted(self._files(), key=lambda each: each["path"])[start : start + PAGE_OF_FILES]

    def _files(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for directory, _, names in os.walk(self._directory):
            for name in names:
                place = os.path.join(directory, name)
                if name.startswith(PART_PREFIX) and directory == self._directory:
                    continue
                try:
                    status = os.lstat(place)
                except FileNotFoundError:
                    continue  # removed meanwhile by the running cell
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    path = os.path.relpath(place, self._directory).encode("utf-8", "backslashreplace").decode()
                    found.append({"path": path, "bytes": status.st_size, "modified_ns": status.st_mtime_ns})
        return found

    def _read(self, question: dict[str, Any]) -> dict[str, Any] | None:
        place, offset = self._place(question["path"]), question["offset"]
        if not os.path.isfile(place):
            return None
        with open_file(place, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), MAX_READ_BYTES, offset)
            status = os.fstat(file.fileno())
        return {"data": data, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}

    def _place(self, path: str) -> str:
        place = os.path.normpath(os.path.join(self._directory, path))
        if not place.startswith(self._directory + os.sep):
            raise ValueError(f"{path!r} is not below the session's directory")
        return place
