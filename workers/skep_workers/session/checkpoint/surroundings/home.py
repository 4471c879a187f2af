"""What of a session's surroundings refers to its directory, in a session that has another one.

A fork is another session, so its directory has another path than its origin's. Entries of `sys.path` and values in the
environment that are paths below the origin's become the same paths below the fork's. Any other text stays as it is:
whether it is a path, only the code that made it knows.
"""

from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.paths import place_below

HOME: Final = "home"  # the session's directory, in its ambient state


def rebased(state: dict[str, Any], home: str) -> dict[str, Any]:
    """Return the ambient state of a session, with paths below its directory moved to below this one."""
    moved, origin = dict(state), state.get(HOME, home)
    if origin == home:
        return moved
    if "environment" in state:
        changed, removed = state["environment"]
        moved["environment"] = ({name: _rebased_list(text, origin, home) for name, text in changed.items()}, removed)
    if "path" in state:
        moved["path"] = [_rebased(entry, origin, home) if isinstance(entry, str) else entry for entry in state["path"]]
    return moved


def _rebased_list(text: str, origin: str, home: str) -> str:
    """Return the value of an environment variable, a path or a list of paths like PATH."""
    return os.pathsep.join(_rebased(part, origin, home) for part in text.split(os.pathsep))


def _rebased(text: str, origin: str, home: str) -> str:
    return text if place_below(origin, text) is None else home + text[len(origin) :]
