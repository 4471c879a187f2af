"""Slashes in the ids of cells. Servers decode a path before it is routed, and so `%2F` would end the id.

Such a slash becomes a character that no id has until the route is found.
"""

import re
from typing import Final
from urllib.parse import unquote

_STAND_IN: Final = "\x1f"
_REFUSED: Final = "\x1e"  # no id has it either
_CELL: Final = re.compile(r"(/v1/sessions/[^/]+/cells/)([^/]+)(.*)", re.DOTALL)


def routed_path(path: str, raw_path: bytes) -> str:
    """Return the path to route by. raw_path: as it was sent."""
    if b"%2f" not in raw_path.lower():
        return path.replace(_STAND_IN, _REFUSED)
    match = _CELL.fullmatch(raw_path.decode("latin-1"))
    if match is None:
        return path
    start, cell_id, rest = match.groups()
    cell_id = unquote(cell_id).replace(_STAND_IN, _REFUSED).replace("/", _STAND_IN)
    return f"{unquote(start)}{cell_id}{unquote(rest)}"


def with_slashes(cell_id: str) -> str:
    """Return the id of a cell from the path it was routed by."""
    return cell_id.replace(_STAND_IN, "/")
