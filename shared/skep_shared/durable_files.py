"""Files that are on the disk when a commit names them.

Each is written beside its place, flushed, and renamed; then the directories are flushed, which have the names. So one
that can be seen is whole, even after a power cut, and one that a commit names is there.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

PARALLEL: Final = 8
TRIES: Final = 3  # whoever removes the last file of a directory removes that, too


def write_durably(root: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files, by their paths below `root`. Raises OSError."""
    with ThreadPoolExecutor(PARALLEL, "flush") as pool:  # a disk flushes several files in the time it takes for one
        changed: set[Path] = set().union(*pool.map(lambda file: _put(root / file[0], file[1]), files))
    _flush_directories(changed)


def _put(path: Path, data: bytes) -> set[Path]:
    """Write one file; gives the directories that have a new name for it."""
    made: set[Path] = set()
    for tries_left in reversed(range(TRIES)):
        try:
            made |= _make_directories(path.parent)
            _write(path, data)
            break
        except FileNotFoundError:
            if not tries_left:
                raise
    return {path.parent} | {directory.parent for directory in made}


def _make_directories(directory: Path) -> set[Path]:
    """Make a directory and those above it; gives the ones that were not there."""
    missing = set()
    while not directory.exists():
        missing.add(directory)
        directory = directory.parent
    for path in sorted(missing):
        path.mkdir(exist_ok=True)
    return missing


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f"{path.name}#{uuid4().int >> 96}")  # a name that obstore takes for an unfinished file
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            aside.unlink()
        raise


def _flush_directories(directories: Iterable[Path]) -> None:
    for directory in directories:
        with suppress(FileNotFoundError):  # emptied, and removed, by whoever no longer needs what was there
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
