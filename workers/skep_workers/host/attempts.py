"""Which start of a cell one is: behind those that owners before have told of, and never told of twice."""

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
        """Give the next run of a cell: the one that is to go on, or a new one, behind those of the owners before."""
        losses = self._claim.losses if cell.seq == self._claim.cursor + 1 else 0
        attempt = max(losses, self._said.get(cell.seq, 0)) + 1
        return self._again.pop(cell.seq, None) or CellRun(cell, attempt)

    def go_on_with(self, run: CellRun) -> None:
        """Have this run be the next one of its cell, which comes back to the queue."""
        self._again[run.cell.seq] = run
