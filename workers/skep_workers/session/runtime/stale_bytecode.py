"""Removes the bytecode of a module that was edited within a second of its import.

Python uses a .pyc if it names the size and the time of the source, the time in whole seconds. Cells write a file,
import it and write it again faster than that. If the size is the same, an import or a reload would use the old code.
"""

import functools
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from typing import Any, Final

from skep_shared.originals import os, time

CHECKED_SECONDS: Final = 86_400  # of files that are older, such as a library's, there is nothing to check


def install_bytecode_check() -> None:
    """Check the bytecode of each module that is imported from a file. Does nothing if that is installed already."""
    read_stats = SourceFileLoader.path_stats
    if hasattr(read_stats, "__wrapped__"):
        return

    @functools.wraps(read_stats)
    def path_stats(loader: SourceFileLoader, path: str) -> Any:
        stats = read_stats(loader, path)
        if time.time() - stats["mtime"] < CHECKED_SECONDS:
            _remove_if_stale(path, stats["mtime"])
        return stats

    SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign, assignment]  # the public method that import calls


def _remove_if_stale(path: str, modified: float) -> None:
    with suppress(OSError, NotImplementedError, ValueError):  # it doesn't exist, or can't be removed
        cached = cache_from_source(path)
        if 0 <= modified - os.stat(cached).st_mtime < 1:
            os.unlink(cached)
