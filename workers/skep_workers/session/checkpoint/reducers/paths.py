"""pathlib's objects: one at or below the session's directory is saved by where it is there.

A fork is another session, whose directory has another path: the object it restores refers to its own directory.
"""

from pathlib import PosixPath, PurePosixPath
from typing import Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry

PATHS: Final = (PosixPath, PurePosixPath)


def reduce_path(path: PurePosixPath) -> Reduced:
    """Reduce a path: one at or below the session's directory to where it is below that."""
    place = place_below(registry.home, str(path))
    return (type(path), path.parts) if place is None else (make_path_below_home, (type(path), place))


def make_path_below_home(kind: type[PurePosixPath], place: str) -> PurePosixPath:
    """Return the path of this place below the session's directory."""
    return kind(registry.home, place)


def place_below(home: str, path: str) -> str | None:
    """Return where a path is below the directory, "" for the directory itself; None if it isn't there."""
    if path == home:
        return ""
    return path[len(home) + 1 :] if home and path.startswith(home + os.sep) else None
