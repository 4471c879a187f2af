"""Paths below the session's directories in its ambient state, changed for a session with other directories.

A fork is another session, so its directory has another path than its origin's. Entries of `sys.path` and values in the
environment that are paths below the origin's directory, or below its private one, become the same paths below the
fork's. Any other text is not changed: only the code that made it knows whether it is a path.
"""

from typing import Any, Final

from skep_shared.originals import os
from skep_shared.session_directories import private_path
from skep_workers.session.checkpoint.reducers.stdlib.paths import place_below

_Moves = list[tuple[str, str]]  # a directory of the origin, and the same one of the fork

HOME: Final = "home"  # the session's directory, in its ambient state


def rebased(state: dict[str, Any], home: str) -> dict[str, Any]:
    """Return the ambient state of a session, with paths below its directory changed to paths below `home`."""
    moved, origin = dict(state), state.get(HOME, home)
    if origin == home:
        return moved
    moves = [(origin, home), (private_path(origin), private_path(home))]
    if "environment" in state:
        changed, removed = state["environment"]
        moved["environment"] = ({name: _rebased_list(text, moves) for name, text in changed.items()}, removed)
    if "path" in state:
        moved["path"] = [_rebased(entry, moves) if isinstance(entry, str) else entry for entry in state["path"]]
    return moved


def _rebased_list(text: str, moves: _Moves) -> str:
    """Return the value of an environment variable, a path or a list of paths like PATH."""
    return os.pathsep.join(_rebased(part, moves) for part in text.split(os.pathsep))


def _rebased(text: str, moves: _Moves) -> str:
    for origin, home in moves:
        if place_below(origin, text) is not None:
            return home + text[len(origin) :]
    return text
