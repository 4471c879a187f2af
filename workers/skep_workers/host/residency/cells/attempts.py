"""Numbers the attempts of a cell.

An attempt gets the next number after any that earlier owners announced in events; no number is announced twice. Events
are written some milliseconds after a cell has begun. So Redis also records which cell the owner's process has begun,
see begin.lua: the owner's death counts as an attempt of that cell, and of no other one. The last attempt that a cell
may have is announced before the process gets the cell; for a cell that must not run twice, that is the first attempt.
So an attempt without an event did not happen, even if a failover has lost the record in Redis.
"""

from typing import Final

from skep_shared.broker.script_replies import Claim
from skep_workers.host.residency.cells.cell_run import CellRun, why_last
from skep_workers.host.residency.cells.intake import QueuedCell

MOST_IDLE_LOSSES: Final = 10  # owners that died in a row before they began a cell: starting the session may kill them
SHUT_DOWN: Final = "worker shut down"


class Attempts:
    """Makes the runs of one session's cells."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._announced = dict(claim.said)
        self._resumed: dict[int, CellRun] = {}

    def next_run(self, cell: QueuedCell) -> CellRun:
        """Return the next run of a cell: the one that was returned with `resume`, or a new one."""
        return self._resumed.pop(cell.seq, None) or CellRun(cell, self._next_number(cell))

    def resume(self, run: CellRun) -> None:
        """Make this run the next one of its cell, which returns to the queue."""
        self._resumed[run.cell.seq] = run

    def is_last(self, cell: QueuedCell) -> bool:
        """Return whether the next run of a cell is the last one that it may have."""
        resumed = self._resumed.get(cell.seq)
        number = resumed.attempt if resumed is not None else self._next_number(cell)
        return cell.spec.on_worker_loss == "fail" or number >= cell.spec.max_attempts

    def was_announced(self, cell: QueuedCell) -> bool:
        """Return whether an earlier owner has written an event of the cell: it had begun, or was about to begin."""
        return cell.seq in self._announced

    def why_lost(self, run: CellRun) -> str:
        """Return why the cell may not be run again, for people; "" if it may."""
        spec, count = run.cell.spec, run.attempt - 1
        if count and (spec.on_worker_loss == "fail" or count >= spec.max_attempts):
            if self._claim.handed_over:
                return f"{SHUT_DOWN} while it was running, and {why_last(run)}"
            return f"its worker or its process died {count} time{'s' * (count > 1)} while it was running"
        idle = self._claim.idle_losses
        if idle >= MOST_IDLE_LOSSES and run.cell.seq == self._claim.cursor + 1:
            return f"{idle} workers in a row died before it began, while they had its session"
        return ""

    def _next_number(self, cell: QueuedCell) -> int:
        announced = self._announced.get(cell.seq, 0)
        if cell.spec.on_worker_loss == "fail" or cell.spec.max_attempts == 1:
            return announced + 1
        claim = self._claim
        losses = claim.losses - claim.idle_losses if cell.seq == claim.cursor + 1 else 0
        return max(losses, announced) + 1
