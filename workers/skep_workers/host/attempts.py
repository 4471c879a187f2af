"""Numbers a cell's attempts: the starts that it has had.

An attempt gets the next number after any that earlier owners announced in events; no number is announced twice. Events
come some milliseconds after a cell has begun, so Redis also knows which cell the owner's process has begun, see
begin.lua: the owner's death is an attempt of that cell, and of no other one. The last attempt that a cell may have,
which is the first one of a cell that must not run twice, is announced before the cell is handed over: what no event
says did not happen, also when a failover has lost the note.
"""

from typing import Final

from skep_shared.script_replies import Claim
from skep_workers.host.intake import QueuedCell
from skep_workers.host.reporter import CellRun

MOST_IDLE_LOSSES: Final = 10  # owners that died in a row before they began a cell: the session's start may kill them
SHUT_DOWN: Final = "worker shut down"


def why_not_again(run: CellRun) -> str:
    """Return why this was the last run that its cell may have, for people; "" if it may have another one."""
    spec = run.cell.spec
    if spec.on_worker_loss == "fail":
        return "on_worker_loss='fail' allows no other start"
    if run.attempt >= spec.max_attempts:
        return f"max_attempts={spec.max_attempts} allows no other start"
    return ""


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

    def why_lost(self, run: CellRun) -> str:
        """Return why the cell may not be run again, with a reason for people; "" if it may."""
        spec, count = run.cell.spec, run.attempt - 1
        if count and (spec.on_worker_loss == "fail" or count >= spec.max_attempts):
            if self._claim.handed_over:
                return f"{SHUT_DOWN} while it was running, and {why_not_again(run)}"
            return f"its worker or its process died {count} time{'s' * (count > 1)} while it was running"
        idle = self._claim.idle_losses
        if idle >= MOST_IDLE_LOSSES and run.cell.seq == self._claim.cursor + 1:
            return f"{idle} workers in a row died before it began, while they had its session"
        return ""

    def _next_number(self, cell: QueuedCell) -> int:
        said = self._said.get(cell.seq, 0)
        if cell.spec.on_worker_loss == "fail" or cell.spec.max_attempts == 1:
            return said + 1
        claim = self._claim
        losses = claim.losses - claim.idle_losses if cell.seq == claim.cursor + 1 else 0
        return max(losses, said) + 1
