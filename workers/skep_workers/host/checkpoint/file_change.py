"""A change to the files of a checkpoint, made by the host: a file that a service uploads makes a new checkpoint.

The host needs to read no chunk for that. What a session process has saved is unchanged, except for the list of files
and the names of chunks that follow from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skep_shared.checkpoints.manifest import Entry, Manifest


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that replaces what was at its path, or (None) is removed. directories: those above the path."""

    path: str
    entry: Entry | None
    directories: Sequence[Entry] = ()

    def reversed_for(self, manifest: Manifest) -> "FileChange":
        """Return the change that undoes this one after it has been applied to this manifest."""
        return FileChange(self.path, next((entry for entry in manifest.files if entry.path == self.path), None))

    def apply(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the change."""
        return manifest.with_entry(self.path, self.entry, self.directories)


def file_entry(path: str, mode: int, modified_ns: int, size: int, chunks: Sequence[bytes]) -> Entry:
    """Return the entry of a file."""
    return Entry(path, "file", mode, modified_ns, size, tuple(chunks), "")


def directory_entry(path: str, mode: int) -> Entry:
    """Return the entry of a directory."""
    return Entry(path, "directory", mode, 0, 0, (), "")
