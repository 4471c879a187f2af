"""The cells that are to end, and why: written by the control thread and read by handlers in the main thread."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from skep_workers.session.attribution.writer import Writer


class Reason(StrEnum):
    """Why a cell is to end."""

    INTERRUPT = "interrupt"
    TIMEOUT = "timeout"


class InterruptRequests:
    """Requests by cell. Each attribute is written in one step, so no lock is needed."""

    def __init__(self, is_on_page: Callable[[Writer], bool]) -> None:
        """`is_on_page` returns whether a signal of the worker is about this cell."""
        self._is_on_page = is_on_page
        self.by_cell: Final[dict[Writer, Reason]] = {}
        self.insisted_on: Writer | None = None  # the second step is due for this cell
        self.sigint_sent_at: float | None = None  # when the control thread has sent a SIGINT, or is about to

    def reason(self, cell: Writer) -> Reason | None:
        """Return the reason why the cell is to end, or None."""
        return self.by_cell.get(cell) or (Reason.INTERRUPT if self._is_on_page(cell) else None)
