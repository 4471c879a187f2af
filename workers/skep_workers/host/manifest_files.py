"""The files that a manifest lists, changed by the host: what a service puts into a session makes a checkpoint.

The host reads no chunk for that. What a session process has saved stays as it is, but for the list of files, and the
names of chunks that follow from it. The forms are those of session/checkpoint/manifest.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

FORMAT: Final = 1
UPLOAD: Final = "upload"  # the mark of a manifest that was made here
LOST_PREFIX: Final = "./"
PATH: Final = 0  # places in the list that is an entry
CHUNKS: Final = 5


@dataclass(frozen=True, slots=True)
class FilesChange:
    """A file that takes the place of what was there, in these directories, or (None) goes.

    Entries are lists as manifests have them.
    """

    path: str
    entry: list[Any] | None
    directories: list[list[Any]] = field(default_factory=list)

    def undone(self, manifest: dict[str, Any]) -> "FilesChange":
        """Return the change that takes this one back, once it is made to this manifest."""
        before = next((entry for entry in manifest["files"] if entry[PATH] == self.path), None)
        return FilesChange(self.path, before)

    def applied(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return a manifest with the change; what it says of the chunks' places is to be put in anew."""
        there = {entry[PATH]: entry for entry in manifest["files"]}
        files = {directory[PATH]: directory for directory in self.directories} | there
        files.pop(self.path, None)
        if self.entry is not None:
            files[self.path] = self.entry
        in_order = [files[path] for path in sorted(files, key=lambda path: path.split("/"))]  # as a walk finds them
        lost = {name: reason for name, reason in manifest["lost"].items() if name != LOST_PREFIX + self.path}
        changed = {**manifest, "files": in_order, "lost": lost}
        return {**changed, "blobs": chunk_names(changed)}


def file_entry(path: str, mode: int, modified_ns: int, size: int, chunks: Iterable[bytes]) -> list[Any]:
    """Give a file's entry."""
    return [path, "file", mode, modified_ns, size, list(chunks), ""]


def directory_entry(path: str, mode: int) -> list[Any]:
    """Give a directory's entry."""
    return [path, "directory", mode, 0, 0, [], ""]


def chunk_names(manifest: dict[str, Any]) -> list[bytes]:
    """Give the name of every chunk that a manifest needs, each once, in the order that a session process gives them."""
    optional = [manifest[name] for name in ("definitions", "sources") if manifest[name] is not None]
    groups = [*manifest["groups"], manifest["ambient"], *optional]
    runs = [run for group in groups for run in (group["chunks"], *(b["chunks"] for b in group["buffers"]))]
    runs += [entry[CHUNKS] for entry in manifest["files"]]
    return list(dict.fromkeys(name for run in runs for name in run))


def pack_empty(python: str) -> bytes:
    """Give the manifest of a session that has no state yet."""
    ambient: dict[str, Any] = {"names": [], "chunks": [], "buffers": [], "named": [], "tolerant": False}
    fields = {
        "format": FORMAT,
        "blobs": [],
        "seq": 0,
        "groups": [],
        "definitions": None,
        "bindings": {},
        "lost": {},
        "ambient": ambient,
        "sources": None,
        "files": [],
        "remade": False,
        "python": python,
    }
    packed: bytes = msgpack.packb(fields)
    return packed
