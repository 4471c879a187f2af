"""What a session process says of its cells, turned into events.

The host, not the process, decides which cell an event belongs to, numbers it and stamps it: a process can neither forge
an event of another session nor of a cell it was not given.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from skep_shared.errors import ProtocolError
from skep_shared.event_codec import pack_event
from skep_shared.frames import Cleared, Display, Done, Failure, InputRequest, Notice, Output, Result, Truncated
from skep_shared.lane import Commands
from skep_shared.states import CellStatus
from skep_workers.host.backoff import persist
from skep_workers.host.clock import RedisClock
from skep_workers.host.intake import QueuedCell
from skep_workers.host.journal import Journal

# What a cell may say while it runs, and its tasks and threads after it has ended.
Saying = Output | Truncated | Display | Cleared | InputRequest | Result | Failure | Notice

REMEMBERED_CELLS: Final = 10_000  # whose late output still finds its cell


@dataclass(slots=True)
class CellRun:
    """A cell that is with the process; `since_ms` is when it became the one that runs."""

    cell: QueuedCell
    attempt: int
    since_ms: float = 0.0
    first_event: int = 0  # 0: nothing has been said of it yet
    announced: int = 0  # the attempt whose start has been told
    killed_as: CellStatus | None = None  # the process was killed for this cell's sake, which then ended so
    last_at: int = 0  # of its latest event, in ms: no later one may seem to be earlier, whatever Redis' clock does
    is_interrupted: bool = False


@dataclass(slots=True)
class _Ended:
    """A cell that has ended, of which tasks and threads may still put something out."""

    cell_id: str
    last_at: int


async def time_of_event(reads: Commands, key: str, number: int) -> int:
    """Return when an event of a stream was, in ms; 0 if it is not there, or can't be read."""
    event_id = f"{number}-0"
    page = await persist(lambda: reads.execute_command("XRANGE", key, event_id, event_id, "COUNT", 1), "events")
    with contextlib.suppress(ValueError, KeyError, TypeError, msgpack.UnpackException):
        return int(msgpack.unpackb(page[0][1][1], unicode_errors="replace")["at"]) if page else 0
    return 0


class Reporter:
    """Writes the events of one session to its journal."""

    def __init__(
        self, journal: Journal, clock: RedisClock, epoch: int, *, retry_reason: str = "the worker that had it died"
    ) -> None:
        """`retry_reason` is why a cell is at a later attempt when it begins here."""
        self._retry_reason = retry_reason
        self._journal = journal
        self._clock = clock
        self._epoch = epoch
        self._ended: OrderedDict[int, _Ended] = OrderedDict()
        self._told: frozenset[int] = frozenset()
        self._told_until = 0

    def go_on_after(self, told: Iterable[int], at_ms: int) -> None:
        """Have no event of these cells, of which earlier owners have told, seem to be earlier than `at_ms`."""
        self._told, self._told_until = frozenset(told), at_ms

    def session_event(self, kind: str, **fields: Any) -> None:
        """Say something of the session as a whole."""
        self._journal.add(self.pack(kind, **fields))

    def pack(self, kind: str, **fields: Any) -> bytes:
        """Give an event of the session, packed and not added."""
        return self._pack_at(kind, int(self._clock.now_ms()), **fields)

    def _pack_at(self, kind: str, at_ms: int, **fields: Any) -> bytes:
        return pack_event({"kind": kind, "epoch": self._epoch, "at": at_ms, **fields})

    def announce(self, run: CellRun) -> None:
        """Say that the cell was queued and has started, unless that has been said."""
        cell = run.cell
        self._journal.said[cell.seq] = run.attempt
        if not run.first_event:
            labels = {"labels": cell.spec.labels} if cell.spec.labels else {}
            run.first_event = self._cell_event(run, "cell.queued", cell.submitted_ms, code=cell.spec.code, **labels)
            if run.attempt > 1:
                self._cell_event(run, "cell.retried", run.since_ms, reason=self._retry_reason)
        if run.since_ms and run.announced != run.attempt:
            run.announced = run.attempt
            self._cell_event(run, "cell.started", run.since_ms)

    def retried(self, run: CellRun) -> bytes:
        """Give the event that voids an attempt whose effects were lost with the process; the next one follows."""
        run.attempt += 1
        run.since_ms = 0.0
        self._journal.said[run.cell.seq] = run.attempt
        reason = "the session process ended before its checkpoint was stored"
        return self._pack_cell_event(run, "cell.retried", self._clock.now_ms(), reason=reason)

    def frame(self, run: CellRun, frame: Saying) -> None:
        """Say what the running cell, or one before it, has put out. Raises ProtocolError for a cell to come."""
        if frame.seq == run.cell.seq and frame.attempt == run.attempt:
            self.announce(run)
            self._say(frame, run.cell.cell_id, self._time_of(run, self._clock.now_ms()))
        else:
            self.late_frame(frame, run.cell.seq)

    def late_frame(self, frame: Saying, next_seq: int) -> None:
        """Say what a cell that has ended puts out while none runs."""
        if frame.seq >= next_seq:
            raise ProtocolError(f"{type(frame).__name__} for cell {frame.seq}, which does not run")
        ended, at_ms = self._ended.get(frame.seq), int(self._clock.now_ms())
        if ended is None:
            self._say(frame, None, at_ms)
        else:
            ended.last_at = max(ended.last_at, at_ms)
            self._say(frame, ended.cell_id, ended.last_at)

    def answered(self, run: CellRun, request: int, text: str | None) -> None:
        """Say that a question of the running cell was answered; the text of a password is None."""
        self._cell_event(run, "input.answered", self._clock.now_ms(), request=request, text=text)

    def end(
        self, run: CellRun, status: CellStatus, run_ms: float, *, is_saved: bool, is_followed: bool = False
    ) -> None:
        """Say how the cell ended; it commits with its checkpoint, or at once if it `is_saved`."""
        self.announce(run)
        ended_ms = self._clock.now_ms()
        queued_ms = max(0.0, (run.since_ms or ended_ms) - run.cell.submitted_ms)

        ending = self._ended[run.cell.seq] = _Ended(run.cell.cell_id, max(run.last_at, int(ended_ms)))

        def finished(checkpoint: str | None, unsaved: str = "") -> bytes:
            now_ms = self._clock.now_ms()
            why = {"unsaved": unsaved} if unsaved else {}
            run.last_at = max(run.last_at, ending.last_at)  # of what it put out between its end and this
            packed = self._pack_cell_event(
                run,
                "cell.finished",
                now_ms,
                status=str(status),
                queued_ms=round(queued_ms, 3),
                run_ms=round(run_ms, 3),
                commit_ms=round(max(0.0, now_ms - ended_ms), 3),
                checkpoint=checkpoint,
                **why,
            )
            ending.last_at = run.last_at
            return packed

        if len(self._ended) > REMEMBERED_CELLS:
            self._ended.popitem(last=False)
        cell = run.cell
        self._journal.end_cell(
            cell.cell_id, cell.seq, run.first_event, finished, is_saved=is_saved, is_followed=is_followed
        )

    def done(self, run: CellRun, frame: Done, *, is_saved: bool, is_followed: bool) -> None:
        """Take the process's word on how its cell ended. Raises ProtocolError for another cell or status."""
        if (frame.seq, frame.attempt) != (run.cell.seq, run.attempt):
            raise ProtocolError(f"Done for cell {frame.seq}/{frame.attempt}, running is {run.cell.seq}/{run.attempt}")
        try:
            status = CellStatus(frame.status)
        except ValueError:
            raise ProtocolError(f"Done with unknown status {frame.status!r}") from None
        self.end(run, status, frame.run_us / 1000, is_saved=is_saved, is_followed=is_followed)

    def _time_of(self, run: CellRun, at_ms: float) -> int:
        """Return the time of the cell's next event, which is not before that of the latest one."""
        floor = self._told_until if run.cell.seq in self._told else 0
        run.last_at = max(int(at_ms), run.last_at, floor)
        return run.last_at

    def _say(self, frame: Saying, cell_id: str | None, at_ms: int) -> None:
        fields: dict[str, Any]
        match frame:
            case Output(_, _, stream, text):
                kind, fields = "output", {"stream": "stderr" if stream == "stderr" else "stdout", "text": text}
            case Truncated(_, _, limit_bytes):
                kind, fields = "output.truncated", {"limit_bytes": limit_bytes}
            case Display(_, _, bundle, display_id, updates):
                kind, fields = "display", {"bundle": bundle, "display_id": display_id, "updates": updates}
            case Cleared(_, _, waits):
                kind, fields = "output.cleared", {"waits": waits}
            case InputRequest(_, _, request, prompt, is_password):
                kind = "input.requested"
                fields = {"request": request, "prompt": prompt, "is_password": is_password}
            case Result(_, _, bundle, data):
                kind, fields = "result", {"bundle": bundle, "data": data}
            case Failure(_, _, ename, evalue, traceback):
                kind, fields = "error", {"ename": ename, "evalue": evalue, "traceback": traceback}
            case Notice(_, _, category, message):
                kind, fields = "warning", {"category": category, "message": message}
        whose = {"cell_id": cell_id, "seq": frame.seq, "attempt": frame.attempt} if frame.seq else {}
        self._journal.add(self._pack_at(kind, at_ms, **whose, **fields))

    def _cell_event(self, run: CellRun, kind: str, at_ms: float, **fields: Any) -> int:
        return self._journal.add(self._pack_cell_event(run, kind, at_ms, **fields))

    def _pack_cell_event(self, run: CellRun, kind: str, at_ms: float, **fields: Any) -> bytes:
        event = {
            "kind": kind,
            "cell_id": run.cell.cell_id,
            "seq": run.cell.seq,
            "attempt": run.attempt,
            "epoch": self._epoch,
            "at": self._time_of(run, at_ms),
            **fields,
        }
        return pack_event(event)
