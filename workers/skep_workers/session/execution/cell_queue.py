"""The cells that a session process has received and not started."""

from collections import deque

from skep_shared.protocol.frames import Execute
from skep_workers.session.attribution.writer import Writer


class CellQueue:
    """Cells in the order of their arrival. The control thread calls `withdraw`; the rest belongs to the main thread."""

    def __init__(self) -> None:
        self.cells: deque[Execute] = deque()
        self._withdrawn: set[Writer] = set()

    def withdraw(self, cell: Writer) -> None:
        """Prevent the start of a cell; it may arrive later than this call."""
        self._withdrawn.add(cell)

    def remove_withdrawal(self, cell: Writer) -> bool:
        """Return whether a cell was withdrawn, and forget that."""
        if cell not in self._withdrawn:
            return False
        self._withdrawn.discard(cell)
        return True

    def begin_as_twin(self) -> None:
        """Forget the withdrawals of the parent's cells."""
        self._withdrawn.clear()
