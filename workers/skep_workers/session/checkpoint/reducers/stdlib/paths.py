"""pathlib's objects: a path at or below the session's directory is saved relative to it.

A fork is another session, whose directory has another path. There the restored object refers to the fork's directory.
"""

from pathlib import PosixPath, PurePosixPath
from typing import Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry

PATHS: Final = (PosixPath, PurePosixPath)


def reduce_path(path: PurePosixPath) -> Reduced:
    """Reduce a path; one at or below the session's directory to the path relative to it."""
    place = place_below(registry.home, str(path))
    return (type(path), path.parts) if place is None else (make_path_below_home, (type(path), place))


def make_path_below_home(kind: type[PurePosixPath], place: str) -> PurePosixPath:
    """Return the path of a place below the session's directory."""
    return kind(registry.home, place)


def place_below(home: str, path: str) -> str | None:
    """Return a path relative to the directory, "" for the directory itself; None if it is not below it."""
    if path == home:
        return ""
    return path[len(home) + 1 :] if home and path.startswith(home + os.sep) else None
