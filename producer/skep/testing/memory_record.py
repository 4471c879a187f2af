"""One session of a MemoryCluster: its cells, its events, and the task that runs the cells in their order."""

import asyncio
import inspect
import platform
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from skep.outcome import CellFault, CellFold, Outcome
from skep.testing.answers import Answer, AnswerFunction
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import BacklogFull, InvalidArgument, SessionClosed
from skep_shared.events import (
    BaseEvent,
    CellFinished,
    CellQueued,
    CellStarted,
    Event,
    SessionClosedEvent,
    SessionStarted,
)
from skep_shared.models import CellSpec, SessionInfo, SessionOptions
from skep_shared.states import CellStatus, SessionState
from skep_shared.values import decode_value

WORKER_ID: Final = "memory"
StartTask = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


@dataclass(slots=True, eq=False)
class CellRecord:
    """One cell. ended: is set with its last event. work: the call that answers it, while that runs."""

    id: str
    seq: int
    spec: CellSpec
    fold: CellFold
    submitted_at: datetime
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: Outcome | None = None
    is_cancelled: bool = False
    is_interrupted: bool = False
    work: asyncio.Task[Answer] | None = None


class SessionRecord:
    """A session's cells and events. Made by its first cell, as a session is."""

    def __init__(
        self, session_id: str, answer: AnswerFunction, options: SessionOptions | None, start_task: StartTask
    ) -> None:
        self.id: Final = session_id
        self.cells: Final[dict[str, CellRecord]] = {}
        self.events: Final[list[Event]] = []
        self.files: Final[dict[str, tuple[bytes, datetime]]] = {}
        self.state = SessionState.OPEN
        self.failure: BaseException | None = None
        self._answer = answer
        self._options = options or SessionOptions()
        self._start_task = start_task
        self._created_at = self._active_at = datetime.now(UTC)
        self._waiting: deque[CellRecord] = deque()
        self._running: CellRecord | None = None
        self._runner: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def append(self, cells: Sequence[tuple[str, CellSpec]], *, max_pending: int, is_chain: bool) -> list[CellRecord]:
        """Append cells, all or none; a known id is the known cell. Raises what `submit_many` raises."""
        known = [cell_id in self.cells for cell_id, _ in cells]
        new = {cell_id for cell_id, _ in cells if cell_id not in self.cells}
        if new and self.state is not SessionState.OPEN:
            raise SessionClosed(self.id)
        if is_chain and sorted(known, reverse=True) != known:
            late = next(cell_id for place, (cell_id, _) in enumerate(cells) if known[place] and not all(known[:place]))
            limit = "it was submitted before, so it can't follow a new cell in a batch that stops on an error"
            raise InvalidArgument("cell_id", late, limit)
        pending = sum(not cell.ended.is_set() for cell in self.cells.values())
        if new and pending + len(new) > max_pending:
            raise BacklogFull(self.id, pending, max_pending)
        for cell_id, spec in cells:
            if cell_id not in self.cells:
                fold = CellFold(self.id, cell_id)
                cell = CellRecord(cell_id, len(self.cells) + 1, spec, fold, datetime.now(UTC))
                self.cells[cell_id] = cell
                self._waiting.append(cell)
        if self._waiting and (self._runner is None or self._runner.done()):
            self._runner = self._start_task(self._run(), f"cells of session {self.id} in memory")
        return [self.cells[cell_id] for cell_id, _ in cells]

    async def outcome_of(self, cell: CellRecord) -> Outcome:
        """Wait for a cell's outcome. Raises what the user's function raised and a session does not catch."""
        await cell.ended.wait()
        if cell.outcome is None:
            assert self.failure is not None  # noqa: S101 - nothing else ends a cell without an outcome
            raise self.failure
        return cell.outcome

    async def followed(self, after: int, *, is_live: bool) -> AsyncIterator[Event]:
        """Yield the events after number `after`; live ones too, until the session is closed."""
        while True:
            for event in self.events[after:]:
                after += 1
                yield event
                if isinstance(event, SessionClosedEvent):
                    return
            if after >= len(self.events):
                if not is_live:
                    return
                if self.failure is not None:
                    raise self.failure
                await self._news.wait()

    def interrupt(self, cell: CellRecord | None = None) -> bool:
        """End a cell, by default the one that runs; False if there is none to end."""
        cell = cell or self._running
        if cell is None or cell.ended.is_set():
            return False
        cell.is_interrupted = True
        if cell.work is not None:
            cell.work.cancel()
        return True

    def cancel(self, cell: CellRecord) -> bool:
        """Cancel a cell that has not started; False if it has ended."""
        if cell is not self._running:
            cell.is_cancelled = True
        return not cell.ended.is_set()

    async def close(self) -> None:
        """Interrupt the running cell, cancel those that wait, and report the end of the session."""
        if self.state is SessionState.OPEN:
            self.state = SessionState.CLOSING
            for cell in self._waiting:
                cell.is_cancelled = True
            self.interrupt()
        if self._runner is not None:
            await asyncio.wait([self._runner])
        if self.state is SessionState.CLOSING:
            self.state = SessionState.CLOSED
            self._report(SessionClosedEvent, None, {})

    def change_options(self, changes: dict[str, object]) -> None:
        """Change options whose values were checked. Raises SessionClosed."""
        if self.state is not SessionState.OPEN:
            raise SessionClosed(self.id)
        self._options = self._options.model_copy(update=changes)

    def info(self) -> SessionInfo:
        """Return the session's state. It has no owner, as there are no workers."""
        options = self._options
        return SessionInfo(
            id=self.id,
            state=self.state,
            owner=None,
            owner_alive=False,
            epoch=1,
            seq=len(self.cells),
            cursor=sum(cell.ended.is_set() for cell in self.cells.values()),
            last_event=len(self.events),
            floor=1,
            created_at=self._created_at,
            active_at=self._active_at,
            limits=options.limits,
            sandbox=options.sandbox,
            network=options.network,
            allowed_hosts=options.allowed_hosts,
            labels=options.labels,
            env=tuple(sorted(options.env)),
            cwd=options.cwd,
            idle_seconds=options.idle_seconds,
            expires_in=options.expires_in,
        )

    async def _run(self) -> None:
        """Run the cells that wait, until there is none."""
        try:
            while self._waiting:
                cell = self._running = self._waiting.popleft()
                await self._run_cell(cell)
                self._running = None
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - pytest.fail() in the user's function, for example
            self.failure = exc
            for cell in self.cells.values():
                cell.ended.set()
            self._wake()

    async def _run_cell(self, cell: CellRecord) -> None:
        if not self.events:
            self._report(SessionStarted, None, {"worker_id": WORKER_ID, "python": platform.python_version()})
        queued = {"code": cell.spec.code, "labels": cell.spec.labels}
        self._report(CellQueued, cell, queued, at=cell.submitted_at)
        queued_ms = max(0.0, (datetime.now(UTC) - cell.submitted_at).total_seconds() * 1000)
        started_at = time.monotonic()
        stopper = self._stopper_of(cell)
        if stopper is not None:
            reason = f"cell {stopper!r} failed, and this cell was to run only if those before it in its batch succeeded"
            fault = CellFault("CellCancelled", reason, f"CellCancelled: {reason}\n")
            answer = Answer(error=fault, status=CellStatus.CANCELLED)
        else:
            self._report(CellStarted, cell, {})
            answer = await self._answered(cell)
        for kind, fields in answer.events():
            self._report(kind, cell, fields)
        times = {"queued_ms": queued_ms, "run_ms": (time.monotonic() - started_at) * 1000, "commit_ms": 0.0}
        self._report(CellFinished, cell, {"status": answer.end, "stopped_by": stopper, **times})
        self._active_at = datetime.now(UTC)
        cell.outcome = cell.fold.outcome()
        cell.ended.set()

    def _stopper_of(self, cell: CellRecord) -> str | None:
        """Return the id of the cell whose failure stops this one; None if none does."""
        before = self.cells.get(cell.spec.only_after or "")
        if before is None or before.outcome is None or before.outcome.ok:
            return None
        return before.outcome.stopped_by or before.id

    async def _answered(self, cell: CellRecord) -> Answer:
        """Return what the user's function answers, or how the cell is ended before that."""
        if cell.is_cancelled:
            return Answer(status=CellStatus.CANCELLED)
        if cell.is_interrupted:
            return Answer(error=KeyboardInterrupt(), status=CellStatus.INTERRUPTED)
        work = cell.work = asyncio.create_task(self._call(cell.spec), name=f"answer for cell {cell.id}")
        try:
            await asyncio.wait([work], timeout=cell.spec.timeout)
            if not work.done():
                await cancel_until_ended([work])
                reason = f"the cell ran into its timeout of {cell.spec.timeout:g} s"
                fault = CellFault("CancelledError", reason, f"asyncio.exceptions.CancelledError\n{reason}\n")
                return Answer(error=fault, status=CellStatus.TIMED_OUT)
            if work.cancelled():
                return Answer(error=asyncio.CancelledError(), status=CellStatus.INTERRUPTED)
            return work.result()
        finally:
            cell.work = None
            await cancel_until_ended([work])

    async def _call(self, spec: CellSpec) -> Answer:
        inputs = {} if spec.inputs is None else decode_value(spec.inputs)
        try:
            returned = self._answer(spec.code, inputs)
            if inspect.isawaitable(returned):
                returned = await returned
            return Answer.of(returned)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - the user's function stands in for a cell's code
            return Answer(error=exc)

    def _report(
        self, kind: type[BaseEvent], cell: CellRecord | None, fields: dict[str, Any], at: datetime | None = None
    ) -> None:
        head: dict[str, Any] = {"id": f"{len(self.events) + 1}-0", "session_id": self.id, "epoch": 1}
        if cell is not None:
            head |= {"cell_id": cell.id, "seq": cell.seq, "attempt": 1}
        event: Any = kind(**head, at=at or datetime.now(UTC), **fields)
        self.events.append(event)
        if cell is not None:
            cell.fold.add(event)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
