"""Numbers a cell's attempts, and finds those that must be on record before they begin.

An attempt gets the next number after any that earlier owners announced in events; no number is announced twice. Events
come some milliseconds after a cell has begun, so an owner that died may have begun one more, and its death counts as an
attempt of the cell that was next. That would be one too many for a cell that may be begun once only, if its owner was
idle when it died. So the last attempt that a cell has, which such a cell's first one is, is announced before the cell
is handed over: what no event says did not happen.
"""

from skep_shared.script_replies import Claim
from skep_workers.host.intake import QueuedCell
from skep_workers.host.reporter import CellRun


class Attempts:
    """The runs of one session's cells that are still to begin."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._said = dict(claim.said)
        self._again: dict[int, CellRun] = {}

    def next_run(self, cell: QueuedCell) -> CellRun:
        """Return the next run of a cell: the one that is to go on, or a new one."""
        return self._again.pop(cell.seq, None) or CellRun(cell, self._next_number(cell))

    def go_on_with(self, run: CellRun) -> None:
        """Have this run be the next one of its cell, which comes back to the queue."""
        self._again[run.cell.seq] = run

    def is_last(self, cell: QueuedCell) -> bool:
        """Return whether the next run of a cell is the last one that it may have."""
        again = self._again.get(cell.seq)
        number = again.attempt if again is not None else self._next_number(cell)
        return cell.spec.on_worker_loss == "fail" or number >= cell.spec.max_attempts

    def is_used_up(self, run: CellRun) -> bool:
        """Return whether the cell has had all the runs that it may have, before this one."""
        spec = run.cell.spec
        return run.attempt > 1 and (spec.on_worker_loss == "fail" or run.attempt > spec.max_attempts)

    def _next_number(self, cell: QueuedCell) -> int:
        said = self._said.get(cell.seq, 0)
        if cell.spec.on_worker_loss == "fail" or cell.spec.max_attempts == 1:
            return said + 1
        claim = self._claim
        losses = claim.losses - claim.idle_losses if cell.seq == claim.cursor + 1 else 0
        return max(losses, said) + 1
