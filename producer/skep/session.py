"""A handle on one session: what a service does with it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

from skep.cell import Cell
from skep.checkpoints import Checkpoint, find_checkpoint, fork_session, list_checkpoints, name_checkpoint
from skep.files import SessionFiles
from skep.inspection import Completion, Inspection, Variable
from skep.link import ShardLink
from skep.outcome import CellFold, Outcome
from skep.reader import check_event_id, followed_events, stored_events
from skep.replies import Moved, ReplyReader
from skep_shared.activation import enqueue_cell
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed, SessionClosed, WaitTimeout
from skep_shared.events import CellQueued, Event, ResetEvent, SessionClosedEvent, TrimmedEvent
from skep_shared.limits import (
    MAX_ANSWER_BYTES,
    MAX_BATCH_CELLS,
    check_cell_id,
    check_code,
    check_number,
    check_session_id,
)
from skep_shared.models import CellSpec, SessionInfo, SessionOptions
from skep_shared.redis_errors import REDIS_ERRORS
from skep_shared.script_replies import ControlStatus
from skep_shared.server_check import as_skep_error
from skep_shared.submission import append_cells, build_cell
from skep_shared.values import encode_value

MAX_DEFER_SECONDS: Final = 366 * 86_400.0
CLOSE_SECONDS: Final = 30.0
OPERATION_SECONDS: Final = 20.0
MAX_MOVES: Final = 5  # of a session, while it is asked for something


class CellOptions(TypedDict, total=False):
    """What a cell can be given besides its code.

    cell_id: idempotency key, 1 to 200 bytes; the same id again is the same cell. timeout: seconds the code may run.
    on_worker_loss: "retry" (run again on another worker) or "fail" (end as lost). max_attempts: 1 to 100.
    inputs: names bound before the cell, plain data. labels: up to 32 short strings.
    """

    cell_id: str | None
    timeout: float | None
    on_worker_loss: str
    max_attempts: int
    inputs: Mapping[str, object] | None
    labels: Mapping[str, str] | None


class CellRequest(CellOptions):
    """One item of `submit_many`."""

    code: str


class Session:
    """A named namespace and its history of cells. A handle does no I/O; the session starts with its first cell."""

    def __init__(
        self, link: ShardLink, replies: ReplyReader, session_id: str, options: SessionOptions | None = None
    ) -> None:
        self.id: Final = check_session_id(session_id)
        self._link = link
        self._replies = replies
        self._packed_options = (options or SessionOptions()).pack()
        self.files: Final = SessionFiles(self.submit_many, self._operate)

    def __repr__(self) -> str:
        return f"<Session {self.id!r}>"

    def cell(self, cell_id: str) -> Cell:
        """Give a handle on a cell that somebody submitted; no I/O."""
        return Cell(self._link, self._replies, self._replies.ticket(self.id, check_cell_id(cell_id)))

    async def submit(
        self,
        code: str,
        *,
        defer_by: float | timedelta | None = None,
        defer_until: datetime | None = None,
        **options: Unpack[CellOptions],
    ) -> Cell:
        """Append a cell; durable when this returns. Later, with `defer_by` (seconds) or `defer_until`.

        Raises InvalidArgument, SessionClosed, BacklogFull, RedisFull, RedisUnavailable.
        """
        if defer_by is not None or defer_until is not None:
            return await self._defer(code, defer_by, defer_until, options)
        return (await self.submit_many([CellRequest(code=code, **options)]))[0]

    async def submit_many(self, cells: Sequence[str | CellRequest]) -> list[Cell]:
        """Append cells in this order, all or none, in one round trip; at most 1,000. Raises what `submit` raises."""
        if not 1 <= len(cells) <= MAX_BATCH_CELLS:
            raise InvalidArgument("cells", len(cells), f"1 to {MAX_BATCH_CELLS} cells at a time")
        requests = [_read_request(cell) for cell in cells]
        tickets = [self._replies.ticket(self.id, cell_id) for cell_id, _ in requests]
        submitted = await self._link.persist(
            lambda: append_cells(
                self._link.scripts,
                self.id,
                requests,
                max_pending=self._link.settings.max_pending_cells,
                client_id=self._replies.client_id,
                options=self._packed_options,
            )
        )
        if submitted.needs_activation:
            await self._link.activate(self.id)
        handles = []
        for ticket, placed in zip(tickets, submitted.cells, strict=True):
            after = submitted.last_event
            ticket.seq = placed.seq
            cell = Cell(self._link, self._replies, ticket, placed=placed, after=after)
            if placed.first_event is not None:  # known and done: nobody will send a reply
                await self._replies.look_up(ticket)
            handles.append(cell)
        return handles

    async def run(self, code: str, *, wait: float | timedelta | None = None, **options: Unpack[CellOptions]) -> Outcome:
        """Submit a cell and wait for its outcome, at most `wait` seconds. Raises what both raise."""
        return await (await self.submit(code, **options)).outcome(wait)

    def events(self, after: str = "0-0", *, follow: bool = False) -> AsyncIterator[Event]:
        """Yield the session's events behind the id `after`; with `follow` also those to come, until it is closed.

        Where retention has removed events, `events.trimmed` says so; where Redis went back, `events.reset`.
        Raises InvalidArgument, RedisUnavailable.
        """
        number = check_event_id("after", after)
        source = followed_events if follow else stored_events
        return source(self._link, self.id, number)

    async def transcript(self) -> list[CellFold]:
        """Give one record per cell, in order: its code, its text so far, and its outcome once it has finished.

        Cells of which retention has removed events are left out.
        """
        folds: dict[str, CellFold] = {}
        is_trimmed = False
        async for event in stored_events(self._link, self.id, 0):
            if isinstance(event, ResetEvent):
                return await self.transcript()  # what has been read is not what is there now
            if isinstance(event, TrimmedEvent):
                folds.clear()
                is_trimmed = True
            cell_id = event.cell_id
            if cell_id is not None and (cell_id in folds or not is_trimmed or isinstance(event, CellQueued)):
                folds.setdefault(cell_id, CellFold(self.id, cell_id)).take(event)
        return list(folds.values())

    async def interrupt(self, cell_id: str | None = None) -> bool:
        """End the running cell, or the one named; False if there was nothing to end.

        Raises NotFound for an unknown session or cell, RedisUnavailable.
        """
        if cell_id is not None:
            return await self.cell(cell_id).interrupt()
        return await self._control("interrupt", {})

    async def answer(self, text: str | None) -> bool:
        """Answer the running cell's input(); None is EOF. False if nothing runs. Raises NotFound, InvalidArgument."""
        if text is not None and (not isinstance(text, str) or len(text.encode()) > MAX_ANSWER_BYTES):
            raise InvalidArgument("text", text, f"a str of at most {MAX_ANSWER_BYTES} bytes, or None, is needed")
        return await self._control("answer", {} if text is None else {"x": text})

    async def complete(self, code: str, cursor: int | None = None) -> Completion:
        """Give what could stand at the cursor (in characters, default the end), also while a cell runs.

        Raises NotFound, OperationFailed, RedisUnavailable.
        """
        check_code(code)
        place = len(code) if cursor is None else int(check_number("cursor", cursor, low=0, high=len(code)))
        found = await self._operate("complete", {"code": code, "cursor": place})
        return Completion(tuple(found["matches"]), found["start"], found["end"])

    async def inspect(self, name: str) -> Inspection:
        """Give what is known of a dotted name, also while a cell runs. Raises as `complete` does."""
        found = await self._operate("inspect", {"name": check_code(name)})
        known = {field.name: found.get(field.name) for field in fields(Inspection)}
        return Inspection(**known)

    async def variables(self) -> list[Variable]:
        """Give the names that cells have bound, also while a cell runs. Raises as `complete` does."""
        return [Variable(**found) for found in await self._operate("variables", {})]

    async def _control(self, kind: str, extra: dict[str, str | bytes | int]) -> bool:
        status = await self._link.request(self.id, kind, fields=extra)
        if status is ControlStatus.UNKNOWN:
            raise NotFound("session", self.id)
        return status is ControlStatus.OK

    async def _operate(self, kind: str, question: dict[str, object]) -> Any:
        """Ask the session's owner for something that it answers."""
        for _ in range(MAX_MOVES):
            with contextlib.suppress(Moved):
                return await self._operate_once(kind, question)
        raise OperationFailed(f"the session was leaving its worker each of {MAX_MOVES} times that it was asked")

    async def _operate_once(self, kind: str, question: dict[str, object]) -> Any:
        operation = self._replies.operation()
        extra: dict[str, str | bytes | int] = {
            "c": self._replies.client_id,
            "o": operation.id,
            "m": kind,
            "p": encode_value(question),
            "d": str(OPERATION_SECONDS),
        }
        status = await self._link.request(self.id, "operate", about="process", fields=extra)
        if status is ControlStatus.UNKNOWN:
            raise NotFound("session", self.id)
        if status is ControlStatus.IDLE:
            raise SessionClosed(self.id)
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                return await operation.result()
        except TimeoutError:
            raise WaitTimeout(f"{kind} of session {self.id!r}", OPERATION_SECONDS) from None

    async def checkpoints(self) -> AsyncIterator[Checkpoint]:
        """Yield the checkpoints that are kept, oldest first. Raises RedisUnavailable."""
        async for checkpoint in list_checkpoints(self._link, self.id):
            yield checkpoint

    async def name_checkpoint(self, checkpoint_id: str, name: str | None) -> None:
        """Name a checkpoint: it is kept until the name is taken away (None), and found by it.

        Raises InvalidArgument (also for another checkpoint's name), NotFound, RedisUnavailable.
        """
        await name_checkpoint(self._link, self.id, checkpoint_id, name)

    async def rollback(self, checkpoint_id: str) -> None:
        """Make an earlier checkpoint, by its id or name, the session's state; nothing may be running or waiting.

        Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable.
        """
        checkpoint = await find_checkpoint(self._link, self.id, checkpoint_id)
        await self._operate("rollback", {"checkpoint": str(checkpoint)})

    async def fork(self, new_id: str, at: str | None = None) -> "Session":
        """Make a new session from a checkpoint of this one, by its id or name, by default the latest.

        Neither sees what the other does afterwards. What is stored is not copied, and stays as long as one needs it;
        nor is the memory, if this session idles at that checkpoint when the new one's first cell comes.
        Raises InvalidArgument (also if `new_id` is taken), NotFound, OperationFailed, RedisFull, RedisUnavailable.
        """
        return (await self.fork_many([new_id], at))[0]

    async def fork_many(self, ids: Sequence[str], at: str | None = None) -> list["Session"]:
        """Make up to 1,000 sessions from one checkpoint, all or none. Raises what `fork` raises."""
        await fork_session(self._link, self.id, ids, at)
        return [Session(self._link, self._replies, new_id) for new_id in ids]

    async def hibernate(self) -> None:
        """Give the session's process up now; its next cell restores it. Raises as `rollback` does."""
        if (await self.info()).owner_alive:
            await self._operate("hibernate", {})

    async def info(self) -> SessionInfo:
        """Give the session's state, owner, epoch, seq and cursor. Raises NotFound, RedisUnavailable."""
        link = self._link
        fields = await link.persist(lambda: link.redis.execute_command("HGETALL", link.keys.session(self.id)))
        if not fields:
            raise NotFound("session", self.id)
        owner = fields.get(b"owner", b"").decode()
        alive = bool(owner) and bool(await link.persist(lambda: link.redis.exists(link.keys.worker(owner))))
        return SessionInfo.from_hash(self.id, fields, owner_alive=alive)

    async def close(self, *, purge: bool = False, timeout: float = CLOSE_SECONDS) -> None:
        """End the session: interrupt what runs, cancel what waits; with `purge` forget it altogether.

        Raises NotFound, WaitTimeout if no worker ended it within `timeout` seconds, RedisUnavailable.
        """
        closed = await self._link.persist(lambda: self._link.scripts.close(self.id))
        if closed.state == "UNKNOWN":
            raise NotFound("session", self.id)
        if closed.needs_activation:
            await self._link.activate(self.id)
        if closed.state == "CLOSING":
            try:
                async with asyncio.timeout(timeout):
                    async for event in followed_events(self._link, self.id, closed.last_event):
                        if isinstance(event, SessionClosedEvent):
                            break
            except TimeoutError:
                raise WaitTimeout(f"the end of session {self.id!r}", timeout) from None
        if purge:
            await self._link.persist(lambda: self._link.scripts.purge(self.id))

    async def _defer(
        self, code: str, defer_by: float | timedelta | None, defer_until: datetime | None, options: CellOptions
    ) -> Cell:
        if defer_by is not None and defer_until is not None:
            raise InvalidArgument("defer_until", defer_until, "either defer_by or defer_until, not both")
        if defer_until is not None and (not isinstance(defer_until, datetime) or defer_until.tzinfo is None):
            raise InvalidArgument("defer_until", defer_until, "a time with a time zone is needed")
        seconds = defer_by.total_seconds() if isinstance(defer_by, timedelta) else defer_by
        if seconds is not None:
            check_number("defer_by", seconds, low=0, high=MAX_DEFER_SECONDS)
        cell_id, spec = _read_request({"code": code, **options})
        ticket = self._replies.ticket(self.id, cell_id)
        loose = {name: value for name, value in options.items() if name != "cell_id" and value is not None}
        if spec.inputs is not None:
            loose["inputs"] = spec.inputs  # encoded: in arq's encoding tuples would be lists, and big ints text
        try:
            await enqueue_cell(
                self._link.arq,
                self._link.keys,
                (self.id, code, {**loose, "cell_id": cell_id, "client_id": self._replies.client_id}),
                job_id=f"{self._link.keys.prefix}:cell:{self.id}:{cell_id}",
                defer_by=seconds,
                defer_until=defer_until,
            )
        except REDIS_ERRORS as exc:
            raise as_skep_error(self._link.settings, exc) from exc
        return Cell(self._link, self._replies, ticket, is_deferred=True)


def _read_request(cell: str | CellRequest) -> tuple[str, CellSpec]:
    """Check everything about a cell before anything is sent. Raises InvalidArgument."""
    request = CellRequest(code=cell) if isinstance(cell, str) else cell
    if not isinstance(request, Mapping) or "code" not in request:
        raise InvalidArgument("cell", cell, "its code is needed, or a mapping with its code and options")
    known = CellRequest.__annotations__
    for name in request:
        if name not in known:
            raise InvalidArgument("option", name, f"one of {', '.join(known)} is known")
    given = {name: value for name, value in request.items() if name not in {"cell_id", "code"}}
    cell_id = request.get("cell_id")
    spec = build_cell(request["code"], **given)  # type: ignore[arg-type]
    return (os.urandom(16).hex() if cell_id is None else check_cell_id(cell_id)), spec
