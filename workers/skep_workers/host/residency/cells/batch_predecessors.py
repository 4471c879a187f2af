"""Whether a cell of a batch that stops on an error may run: how the cell before it in the batch has ended.

Usually that is the latest cell that has ended here. A cell that ended under an earlier owner, or before the latest one,
is looked up in Redis: its commit has written its last event, which has its status, in one step with all its other
results. So an owner that takes over after a failure decides as the earlier owner would have. If retention has removed
that event, nothing shows that the cell succeeded, and the next cell of the batch does not run.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Commands
from skep_shared.states import CellStatus
from skep_workers.host.broker.backoff import persist

_WORDS: Final[dict[str, str]] = {
    CellStatus.FAILED: "failed",
    CellStatus.INTERRUPTED: "was interrupted",
    CellStatus.TIMED_OUT: "timed out",
    CellStatus.CRASHED: "crashed",
    CellStatus.LOST: "was lost with its worker",
    CellStatus.CANCELLED: "was cancelled",
}
_STATUS_UNKNOWN: Final = "did not succeed"
_NO_OUTCOME: Final = "has no outcome that is kept"


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """The cell of a batch that did not succeed. word: how it ended."""

    cell_id: str
    word: str

    def __str__(self) -> str:
        """Return why a later cell of the batch does not run."""
        rule = "this cell was to run only if those before it in its batch succeeded"
        return f"cell {self.cell_id!r} {self.word}, and {rule}"


@dataclass(frozen=True, slots=True)
class _End:
    """How a cell ended. failure: its own or that of the cell that it was cancelled for; None if it succeeded."""

    cell_id: str
    failure: BatchFailure | None


class Predecessors:
    """How cells have ended for which later cells of their batch wait."""

    def __init__(self, reads: Commands, keys: Keys, session_id: str, wake: Callable[[], None]) -> None:
        """`wake` is called when a cell has to be looked up."""
        self._reads = reads
        self._ids, self._events = keys.ids(session_id), keys.events(session_id)
        self._wake = wake
        self._latest_id = ""
        self._latest_status: str = CellStatus.FINISHED
        self._latest_cause: BatchFailure | None = None
        self._found: _End | None = None
        self._sought: tuple[str, int, int] | None = None
        self._uncommitted: tuple[str, int] | None = None  # a cell that had not committed when it was looked up

    def record_end(self, cell_id: str, status: str, cause: BatchFailure | None = None) -> None:
        """Record the end of the latest cell. cause: the failure for which it was cancelled."""
        self._latest_id, self._latest_status, self._latest_cause = cell_id, status, cause

    def has_ended(self, cell_id: str, *, before: int, cursor: int) -> bool:
        """Return whether it is known how a cell has ended; start a look-up if not.

        before: seq of the cell that waits for it. cursor: seq of the last cell that has committed.
        """
        if cell_id == self._latest_id or (self._found is not None and self._found.cell_id == cell_id):
            return True
        if self._uncommitted is not None and self._uncommitted[0] == cell_id and self._uncommitted[1] > cursor:
            return False
        if self._sought is None:
            self._sought = (cell_id, before, cursor)
            self._wake()
        return False

    def failure_of(self, cell_id: str) -> BatchFailure | None:
        """Return the failure that keeps the next cells of the batch from running, None if the cell succeeded."""
        if cell_id == self._latest_id:
            return _failure(cell_id, self._latest_status, self._latest_cause)
        assert self._found is not None  # noqa: S101 - has_ended returned True
        return self._found.failure

    async def look_up(self) -> bool:
        """Look up the cell that is sought. Return False if there is none."""
        if self._sought is None:
            return False
        cell_id, before, cursor = self._sought
        entry = await self._entry(cell_id)
        mark, _, rest = entry.partition(":")
        seq = int(rest.partition(":")[0]) if mark == "p" else before
        if cursor < seq < before:
            self._uncommitted = (cell_id, seq)
        else:
            # It will never end before the cell that waits: it comes later, or is unknown, or is pending although its
            # turn is over (Redis has lost its latest writes).
            self._found = _End(cell_id, await self._failure_in(cell_id, entry))
        self._sought = None
        return True

    async def _entry(self, cell_id: str) -> str:
        entry = await persist(lambda: self._reads.execute_command("HGET", self._ids, cell_id), "cells")
        return entry.decode("utf-8", "replace") if entry else ""

    async def _failure_in(self, cell_id: str, entry: str) -> BatchFailure | None:
        """Return the failure that the last event of a cell shows, None if it succeeded."""
        event = await self._last_event(entry)
        cause = event.get("stopped_by")
        if cause is not None:
            end = await self._last_event(await self._entry(cause))
            return BatchFailure(cause, _WORDS.get(end.get("status", ""), _STATUS_UNKNOWN))
        if event.get("status") == CellStatus.FINISHED:
            return None
        return BatchFailure(cell_id, _WORDS.get(event.get("status", ""), _NO_OUTCOME))

    async def _last_event(self, entry: str) -> dict[str, Any]:
        """Return the last event of a cell that has ended, {} if it is no longer stored."""
        if not entry.startswith("d:"):
            return {}
        event_id = f"{entry.rpartition(':')[2]}-0"
        command = ("XRANGE", self._events, event_id, event_id, "COUNT", 1)
        page = await persist(lambda: self._reads.execute_command(*command), "events")
        with contextlib.suppress(ValueError, TypeError, msgpack.UnpackException):
            for _, flat in page:
                return dict(msgpack.unpackb(flat[1], unicode_errors="replace"))
        return {}


def _failure(cell_id: str, status: str, cause: BatchFailure | None) -> BatchFailure | None:
    if status == CellStatus.FINISHED:
        return None
    return cause or BatchFailure(cell_id, _WORDS.get(status, _STATUS_UNKNOWN))
