"""How a cell ended that did not finish, as `Outcome.raise_for_status` raises it."""

from skep_shared.errors.base import SkepError


class CellError(SkepError):
    """A cell ended with a status other than `finished`; `ename` and `evalue` describe the exception, if any."""

    def __init__(self, session_id: str, cell_id: str, status: str, ename: str, evalue: str, traceback: str) -> None:
        super().__init__(session_id, cell_id, status, ename, evalue, traceback)
        self.session_id, self.cell_id, self.status = session_id, cell_id, status
        self.ename, self.evalue, self.traceback = ename, evalue, traceback

    def __str__(self) -> str:
        """Return the cell, its status, and the error with its traceback."""
        head = f"cell {self.cell_id!r} of session {self.session_id!r} {self.status.replace('_', ' ')}"
        if self.ename:
            head += f": {self.ename}: {self.evalue}" if self.evalue else f": {self.ename}"
        return f"{head}\n{self.traceback}" if self.traceback else head


class CellFailed(CellError):
    """The cell's code raised an exception."""


class CellInterrupted(CellError):
    """The cell was interrupted."""


class CellTimedOut(CellError):
    """The cell ran longer than its own timeout."""


class CellCancelled(CellError):
    """The cell was removed before it started."""


class CellLost(CellError):
    """The cell's worker died, and the cell must not or can't run again."""


class SessionCrashed(CellError):
    """The cell ended its own process (signal, exit, out of memory)."""
