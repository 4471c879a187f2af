"""Turns what a session process sends about its cells into events.

The host, not the process, decides which cell an event belongs to, numbers it and adds its time. So a process
can't forge events of another session, or of a cell that it was not sent.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Concatenate, Final, ParamSpec

import msgpack

from skep_shared import packed_events
from skep_shared.broker.lane import Commands
from skep_shared.errors import ProtocolError
from skep_shared.packed_events import EventHead, cell_head, session_head
from skep_shared.protocol.frames import Cleared, Display, Done, Failure, InputRequest, Notice, Output, Result, Truncated
from skep_shared.states import CellStatus
from skep_workers.host.broker.backoff import persist
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.process.listener import CellOutput
from skep_workers.host.residency.cells.cell_run import CellRun
from skep_workers.host.residency.event_queue import EndedCell
from skep_workers.host.residency.journal import Journal

_Fields = ParamSpec("_Fields")
REMEMBERED_CELLS: Final = 10_000  # ended cells whose late output is still attributed to them


@dataclass(slots=True)
class _RememberedCell:
    """A cell that has ended; its tasks and threads may still write output."""

    cell_id: str
    last_at: int


async def time_of_event(reads: Commands, key: str, number: int) -> int:
    """Return the time of an event in a stream, in ms; 0 if it is missing or can't be read."""
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
        """`retry_reason`: why a cell that begins here may be at a later attempt."""
        self._retry_reason = retry_reason
        self._journal = journal
        self._clock = clock
        self._epoch = epoch
        self._ended: OrderedDict[int, _RememberedCell] = OrderedDict()
        self._announced_before: frozenset[int] = frozenset()
        self._earliest_at = 0

    def continue_after(self, seqs: Iterable[int], at_ms: int) -> None:
        """Set the earliest time for further events of these cells, which earlier owners have announced."""
        self._announced_before, self._earliest_at = frozenset(seqs), at_ms

    def session_event(
        self,
        make: Callable[Concatenate[EventHead, _Fields], bytes],
        *args: _Fields.args,
        **fields: _Fields.kwargs,
    ) -> None:
        """Add an event of the session as a whole. `make`: a maker of `packed_events`."""
        self._journal.add(make(self.session_head(), *args, **fields))

    def session_head(self) -> EventHead:
        """Return the head of an event of the session that happens now."""
        return session_head(self._epoch, int(self._clock.now_ms()))

    def announce(self, run: CellRun) -> None:
        """Add the events that the cell was queued and has started, unless they were added before."""
        if run.announced == run.attempt and run.is_queued:
            return
        cell = run.cell
        self._journal.record_attempt(cell.seq, run.attempt)
        if not run.is_queued:
            run.is_queued = True
            head = self._head(run, cell.submitted_ms)
            queued = packed_events.cell_queued(head, code=cell.spec.code, labels=cell.spec.labels)
            self._journal.add_first(cell.seq, queued)
            if run.attempt > 1:
                head = self._head(run, run.since_ms)
                self._journal.add(packed_events.cell_retried(head, reason=self._retry_reason))
        if run.since_ms and run.announced != run.attempt:
            run.announced = run.attempt
            self._journal.add(packed_events.cell_started(self._head(run, run.since_ms)))

    def next_attempt(self, run: CellRun) -> bytes:
        """Move a run to its next attempt; return the event that voids the one whose effects were lost."""
        run.attempt += 1
        run.since_ms = 0.0
        self._journal.record_attempt(run.cell.seq, run.attempt)
        reason = "the session process ended before its checkpoint was stored"
        return packed_events.cell_retried(self._head(run, self._clock.now_ms()), reason=reason)

    def output(self, run: CellRun, frame: CellOutput) -> None:
        """Add output of the running cell or an earlier one. Raise ProtocolError for a later cell."""
        if frame.seq == run.cell.seq and frame.attempt == run.attempt:
            self.announce(run)
            self._add_output(frame, run.cell.cell_id, self._time_of(run, self._clock.now_ms()))
        else:
            self.late_output(frame, run.cell.seq)

    def late_output(self, frame: CellOutput, next_seq: int) -> None:
        """Add output of a cell that has ended. Raise ProtocolError for one from `next_seq` on."""
        if frame.seq >= next_seq:
            raise ProtocolError(f"{type(frame).__name__} for cell {frame.seq}, which does not run")
        ended, at_ms = self._ended.get(frame.seq), int(self._clock.now_ms())
        if ended is None:
            self._add_output(frame, None, at_ms)
        else:
            ended.last_at = max(ended.last_at, at_ms)
            self._add_output(frame, ended.cell_id, ended.last_at)

    def answered(self, run: CellRun, request: int, text: str | None) -> None:
        """Add the event that a question of the running cell was answered. text: None for a password."""
        head = self._head(run, self._clock.now_ms())
        self._journal.add(packed_events.input_answered(head, request=request, text=text))

    def end(
        self,
        run: CellRun,
        status: CellStatus,
        run_ms: float,
        *,
        is_saved: bool,
        is_followed: bool = False,
        stopped_by: str | None = None,
    ) -> None:
        """Add the end of a cell. It commits with its checkpoint, or at once if it `is_saved`.

        stopped_by: the id of the cell of its batch whose failure cancelled it.
        """
        self.announce(run)
        ended_ms = self._clock.now_ms()
        queued_ms = max(0.0, (run.since_ms or ended_ms) - run.cell.submitted_ms)
        ending = self._ended[run.cell.seq] = _RememberedCell(run.cell.cell_id, max(run.last_at, int(ended_ms)))

        def finished(checkpoint: str | None, unsaved: str = "") -> bytes:
            now_ms = self._clock.now_ms()
            run.last_at = max(run.last_at, ending.last_at)  # output may have arrived after its end
            packed = packed_events.cell_finished(
                self._head(run, now_ms),
                status=status,
                queued_ms=round(queued_ms, 3),
                run_ms=round(run_ms, 3),
                commit_ms=round(max(0.0, now_ms - ended_ms), 3),
                checkpoint=checkpoint,
                unsaved=unsaved,
                stopped_by=stopped_by,
            )
            ending.last_at = run.last_at
            return packed

        if len(self._ended) > REMEMBERED_CELLS:
            self._ended.popitem(last=False)
        cell = run.cell
        self._journal.end_cell(EndedCell(cell.cell_id, cell.seq, finished, not is_saved, is_followed))

    def done(self, run: CellRun, frame: Done, *, is_saved: bool, is_followed: bool) -> None:
        """Add the end of a cell as its process reports it. Raise ProtocolError for another cell or status."""
        if (frame.seq, frame.attempt) != (run.cell.seq, run.attempt):
            raise ProtocolError(f"Done for cell {frame.seq}/{frame.attempt}, running is {run.cell.seq}/{run.attempt}")
        try:
            status = CellStatus(frame.status)
        except ValueError:
            raise ProtocolError(f"Done with unknown status {frame.status!r}") from None
        self.end(run, status, frame.run_us / 1000, is_saved=is_saved, is_followed=is_followed)

    def _time_of(self, run: CellRun, at_ms: float) -> int:
        """Return the time of the cell's next event, which is never before its latest one."""
        at = max(int(at_ms), run.last_at)
        if self._announced_before and run.cell.seq in self._announced_before:
            at = max(at, self._earliest_at)
        run.last_at = at
        return at

    def _add_output(self, frame: CellOutput, cell_id: str | None, at_ms: int) -> None:
        if frame.seq:
            head = cell_head(cell_id, frame.seq, frame.attempt, self._epoch, at_ms)
        else:
            head = session_head(self._epoch, at_ms)
        self._journal.add(_pack_output(head, frame))

    def _head(self, run: CellRun, at_ms: float) -> EventHead:
        """Return the head of the cell's next event."""
        return cell_head(run.cell.cell_id, run.cell.seq, run.attempt, self._epoch, self._time_of(run, at_ms))


def _pack_output(head: EventHead, frame: CellOutput) -> bytes:
    """Return the event that reports a frame."""
    match frame:
        case Output(_, _, stream, text):
            return packed_events.output(head, stream="stderr" if stream == "stderr" else "stdout", text=text)
        case Truncated(_, _, limit_bytes):
            return packed_events.output_truncated(head, limit_bytes=limit_bytes)
        case Display(_, _, bundle, display_id, updates):
            return packed_events.display(head, bundle=bundle, display_id=display_id, updates=updates)
        case Cleared(_, _, waits):
            return packed_events.output_cleared(head, waits=waits)
        case InputRequest(_, _, request, prompt, is_password):
            return packed_events.input_requested(head, request=request, prompt=prompt, is_password=is_password)
        case Result(_, _, bundle, data):
            return packed_events.result(head, bundle=bundle, data=data)
        case Failure(_, _, ename, evalue, traceback):
            return packed_events.error(head, ename=ename, evalue=evalue, traceback=traceback)
        case Notice(_, _, category, message):
            return packed_events.warning(head, category=category, message=message)
