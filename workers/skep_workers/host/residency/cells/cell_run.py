"""One attempt at a cell, and why it may be the last one."""

from dataclasses import dataclass

from skep_shared.states import CellStatus
from skep_workers.host.residency.cells.intake import QueuedCell


@dataclass(slots=True)
class CellRun:
    """A cell that is with the process."""

    cell: QueuedCell
    attempt: int
    since_ms: float = 0.0  # when it became the running cell
    is_queued: bool = False  # its first event has been added
    announced: int = 0  # the attempt whose start has been announced
    killed_as: CellStatus | None = None  # the process was killed to end this cell, which gets this status
    last_at: int = 0  # time of its latest event, in ms: a later one never has an earlier time, whatever the clock does
    is_interrupted: bool = False
    was_not_begun: bool = False  # its process was killed because it was stuck before this cell
    timeout_seconds: float | None = None  # the lower one of its own timeout and the session's limit wall_seconds


def why_last(run: CellRun) -> str:
    """Return why this is the last run that its cell may have, for people; "" if it may have another one."""
    spec = run.cell.spec
    if spec.on_worker_loss == "fail":
        return "on_worker_loss='fail' allows no other start"
    if run.attempt >= spec.max_attempts:
        return f"max_attempts={spec.max_attempts} allows no other start"
    return ""
