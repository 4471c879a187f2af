"""How much of a session's record fits into an export."""

from typing import Final

MAX_CELL_BYTES: Final = 8 * 1024 * 1024
MAX_EXPORT_BYTES: Final = 64 * 1024 * 1024
HIGHEST_BYTES: Final = 1024 * 1024 * 1024  # more than a browser opens


class OutputRoom:
    """The bytes that the cells of an export may still take: `cell_bytes` each, `total_bytes` together."""

    def __init__(self, cell_bytes: int = MAX_CELL_BYTES, total_bytes: int = MAX_EXPORT_BYTES) -> None:
        self._cell_bytes = cell_bytes
        self._left = total_bytes

    def left(self, used: int) -> int:
        """Return how many more bytes fit for a cell that has used so many."""
        return max(0, min(self._cell_bytes - used, self._left))

    def take(self, size: int) -> None:
        """Use bytes; a negative size returns some."""
        self._left -= size
