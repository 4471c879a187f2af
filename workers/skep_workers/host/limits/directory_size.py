"""How much disk space and how many entries a directory has."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 512  # of st_blocks, on every file system


class DirectorySize(NamedTuple):
    """The sums over everything below a directory. Nothing outside of it counts: links are not followed."""

    used_bytes: int
    entries: int


def measure_directory(root: Path, most_bytes: int | None, most_entries: int | None) -> DirectorySize:
    """Return how large a directory is; stop as soon as it is larger than allowed.

    A file with several names counts once. A file that was removed and is still open does not count.
    """
    used_bytes = entries = 0
    seen: set[tuple[int, int]] = set()
    for status in _entries_below(root):
        entries += 1
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) not in seen:
            used_bytes += status.st_blocks * BLOCK_BYTES
            if status.st_nlink > 1:
                seen.add((status.st_dev, status.st_ino))
        if (most_bytes is not None and used_bytes > most_bytes) or (
            most_entries is not None and entries > most_entries
        ):
            break
    return DirectorySize(used_bytes, entries)


def _entries_below(root: Path) -> Iterator[os.stat_result]:
    """Yield the status of every entry. What a session removes or hides meanwhile is left out."""
    left = [str(root)]
    while left:
        directory = left.pop()
        try:
            with os.scandir(directory) as found:
                for entry in found:
                    status = _status_of(entry)
                    if status is None:
                        continue
                    yield status
                    if stat.S_ISDIR(status.st_mode):
                        left.append(entry.path)
        except OSError:
            continue


def _status_of(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None
