"""The console's files: read from the package once, and found by their exact names.

A path of a request is never one of the file system, so no path leads out of the folder.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

INDEX: Final = "index.html"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file. etag: with its quotes, as in the header."""

    path: str
    body: bytes
    content_type: str
    etag: str


def read_static_files() -> dict[str, StaticFile]:
    """Return the console's files by their path below `static/`. Raises LookupError for a file of an unknown type."""
    found = {}
    for path, entry in _walk(files(__package__) / "static", ""):
        body = entry.read_bytes()
        suffix = path.rpartition(".")[2]
        if suffix not in _TYPES:
            raise LookupError(f"{path}: files of the console are of the types {', '.join(_TYPES)}")
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        found[path] = StaticFile(path, body, _TYPES[suffix], tag)
    return found


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry
