"""What a service does with a session's files.

Writing is a cell's doing, so that it has its place among the others and is saved with the commit; looking and reading
are operations, also while a cell runs. Paths are below the session's directory: a cell could go elsewhere anyway, so
this is no wall; it tells a slip.
"""

import builtins
import shutil
import stat
from collections.abc import Callable
from typing import Any, Final

from skep_shared.originals import open_file, os
from skep_workers.session.namespace import NamespaceManager

BUILTIN: Final = "__skep_files__"
DATA: Final = "__skep_data__"  # the input that a writing cell brings
PART_SUFFIX: Final = ".skep-part"
MAX_LISTED: Final = 10_000
MAX_READ_BYTES: Final = 1024 * 1024


class WorkspaceCalls:
    """The files below one directory, for the cells and operations that the client's `session.files` makes."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self._directory = ""
        self.handlers: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
            "files.list": self._list,
            "files.read": self._read,
        }

    def begin(self, directory: str) -> None:
        """Start, or go on, in this directory."""
        self._directory = directory

    def install(self) -> None:
        """Make it known to cells, without a name in the user's namespace."""
        setattr(builtins, BUILTIN, self)

    def put(self, path: str, offset: int = 0, *, is_last: bool = True) -> None:
        """Write the cell's data at this place of a file, which gets its name with the last piece."""
        data = self._namespace.names.pop(DATA)
        place = self._place(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        part = place + PART_SUFFIX
        with open_file(part, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)
            file.truncate()
        if is_last:
            os.replace(part, place)

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        place = self._place(path)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.remove(place)

    def _list(self, _question: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for directory, _, names in os.walk(self._directory):
            for name in sorted(names):
                place = os.path.join(directory, name)
                status = os.lstat(place)
                if len(found) < MAX_LISTED and (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                    path = os.path.relpath(place, self._directory).encode("utf-8", "backslashreplace").decode()
                    found.append({"path": path, "bytes": status.st_size, "modified_ns": status.st_mtime_ns})
        return sorted(found, key=lambda each: each["path"])

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
