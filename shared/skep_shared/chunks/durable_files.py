"""Files that are safely on disk before a commit names them.

Each file is written under a temporary name, flushed and renamed; then the directories that contain the names are
flushed. So a file that exists is complete, even after a power failure, and a file that a commit names exists.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

PARALLEL: Final = 8
TRIES: Final = 3  # another process that removes the last file of a directory also removes the directory


def write_durably(root: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files, given by their paths below `root`. Raises OSError."""
    with ThreadPoolExecutor(PARALLEL, "flush") as pool:  # a disk flushes several files in the time it takes for one
        changed: set[Path] = set().union(*pool.map(lambda file: _write_file(root / file[0], file[1]), files))
    _flush_directories(changed)


def _write_file(path: Path, data: bytes) -> set[Path]:
    """Write one file; return the directories in which names were added."""
    made: set[Path] = set()
    for tries_left in reversed(range(TRIES)):
        try:
            made |= _make_directories(path.parent)
            _replace(path, data)
            break
        except FileNotFoundError:
            if not tries_left:
                raise
    return {path.parent} | {directory.parent for directory in made}


def _make_directories(directory: Path) -> set[Path]:
    """Make a directory and those above it; return the ones that were missing."""
    missing = set()
    while not directory.exists():
        missing.add(directory)
        directory = directory.parent
    for path in sorted(missing):
        path.mkdir(exist_ok=True)
    return missing


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}#{uuid4().int >> 96}")  # obstore treats such a name as an unfinished file
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _flush_directories(directories: Iterable[Path]) -> None:
    for directory in directories:
        with suppress(
            FileNotFoundError
        ):  # another process has removed the last file in it, and with that the directory
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
