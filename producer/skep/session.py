"""A handle on one session: submit cells, read its events, and control it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, Unpack, cast

from skep.callbacks import Callbacks, OnEvent, OnOutput
from skep.cell import Cell
from skep.cell_request import CellOptions, CellRequest, read_requests
from skep.checkpoints import Checkpoint, find_checkpoint, fork_session, list_checkpoints, name_checkpoint
from skep.deferral import defer_cell, read_time
from skep.export.html_page import notebook_page
from skep.export.output_room import HIGHEST_BYTES, MAX_CELL_BYTES, MAX_EXPORT_BYTES
from skep.export.session_notebook import fold_notebook
from skep.files import SessionFiles
from skep.inspection import Completeness, Completion, Inspection, Variable
from skep.link import ShardLink
from skep.listings.session_infos import Shortages, describe_session
from skep.operations import HIBERNATE, ROLLBACK, Operations
from skep.outcome import CellFold, Outcome
from skep.reader import check_event_id, followed_events, stored_events
from skep.replies import ReplyReader
from skep.session_update import update_session
from skep.transcript import SessionFold
from skep_shared.broker.mailbox_entries import Field, InputAnswer, RequestKind
from skep_shared.broker.script_replies import ControlStatus
from skep_shared.broker.signatures import sign_options
from skep_shared.broker.submission import append_cells, pack_options, weaker_session
from skep_shared.errors import InvalidArgument, NotFound, SignatureRefused, WaitTimeout
from skep_shared.events import Event, ResetEvent, SessionClosedEvent, WarningEvent
from skep_shared.limits import (
    MAX_ANSWER_BYTES,
    check_cell_id,
    check_code,
    check_number,
    check_session_id,
)
from skep_shared.models import SessionInfo, SessionOptions
from skep_shared.signing import OTHER_KEY, REFUSED_CATEGORY
from skep_shared.states import PAGE_OF_VARIABLES

CLOSE_SECONDS: Final = 30.0


class Session:
    """A named namespace and its history of cells. Making a handle does no I/O; the first cell creates the session."""

    def __init__(
        self, link: ShardLink, replies: ReplyReader, session_id: str, options: SessionOptions | None = None
    ) -> None:
        self.id: Final[str] = check_session_id(session_id)
        self._link = link
        self._replies = replies
        packed = pack_options(options, link.settings)
        self._packed_options = sign_options(link.signer, link.keys.full_id(self.id), packed)
        self._has_options = options is not None and options != SessionOptions()
        self._operate = Operations(link, replies, self.id).ask
        self.files: Final[SessionFiles] = SessionFiles(link, self.submit_many, self._operate, self._create)

    def __repr__(self) -> str:
        return f"<Session {self.id!r}>"

    async def _create(self) -> None:
        """Create the session if it doesn't exist, before its first cell.

        Raises InvalidArgument if it exists with a weaker sandbox than this handle's options ask for.
        """
        opened = await self._link.persist(lambda: self._link.scripts.open(self.id, self._packed_options))
        if opened.sandbox:
            raise weaker_session(self.id, opened.sandbox, self._packed_options)

    def cell(self, cell_id: str) -> Cell:
        """Return a handle on a cell that any client submitted; no I/O."""
        return Cell(self._link, self._replies, self._replies.ticket(self.id, check_cell_id(cell_id)))

    async def submit(
        self,
        code: str,
        *,
        defer_by: float | timedelta | None = None,
        defer_until: datetime | None = None,
        **options: Unpack[CellOptions],
    ) -> Cell:
        """Append a cell; it is durable when this returns. `defer_by` (seconds) or `defer_until` append it later.

        Raises InvalidArgument, SessionClosed, BacklogFull, RateExceeded, QuotaExceeded, RedisFull, RedisUnavailable.
        """
        if defer_by is not None or defer_until is not None:
            when, request = read_time(defer_by, defer_until), CellRequest(code=code, **options)
            create = self._create if self._has_options else None  # what is deferred doesn't carry them
            return await defer_cell(self._link, self._replies, self.id, request, when, create)
        return (await self.submit_many([CellRequest(code=code, **options)]))[0]

    async def submit_many(self, cells: Sequence[str | CellRequest], *, stop_on_error: bool = False) -> list[Cell]:
        """Append cells in this order, all or none, in one round trip; at most 1,000.

        stop_on_error: each cell runs only if the one before it succeeded; otherwise it is cancelled. Cells that were
        submitted before must then come before new ones, and keep the options of their first submit. Raises what
        `submit` raises.
        """
        requests = read_requests(cells, stop_on_error=stop_on_error)
        tickets = [self._replies.ticket(self.id, cell_id) for cell_id, _ in requests]
        submitted = await self._link.persist(
            lambda: append_cells(
                self._link.scripts,
                self.id,
                requests,
                max_pending=self._link.settings.max_pending_cells,
                client_id=self._replies.client_id,
                options=self._packed_options,
                is_chain=stop_on_error,
            )
        )
        handles = []
        for ticket, placed in zip(tickets, submitted.cells, strict=True):
            after = submitted.last_event
            ticket.seq = placed.seq
            cell = Cell(self._link, self._replies, ticket, placed=placed, after=after)
            if placed.first_event is not None:  # submitted before and done: no reply will be sent
                await self._replies.look_up(ticket)
            handles.append(cell)
        return handles

    async def run(
        self,
        code: str,
        *,
        wait: float | timedelta | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        **options: Unpack[CellOptions],
    ) -> Outcome:
        """Submit a cell and wait for its outcome, at most `wait` seconds.

        Meanwhile call `on_event` with each of its events, and `on_output` with those that are output; both may be
        asynchronous. One call ends before the next begins. Raises what `submit` and `outcome` raise, and what a
        function raises: that ends the wait, not the cell.
        """
        callbacks = Callbacks(on_output, on_event)
        cell = await self.submit(code, **options)
        return await (callbacks.outcome(cell, wait) if callbacks else cell.outcome(wait))

    def events(self, after: str = "0-0", *, follow: bool = False) -> AsyncIterator[Event]:
        """Yield the session's events after the id `after`; with `follow` also new ones, until it is closed.

        `events.trimmed` reports that retention has removed events, `events.reset` that Redis went back to an earlier
        state. Raises InvalidArgument, RedisUnavailable.
        """
        number = check_event_id("after", after)
        source = followed_events if follow else stored_events
        return source(self._link, self.id, number)

    async def transcript(self) -> list[CellFold]:
        """Return one record per cell, in order: its code, its text so far, and its outcome once it has finished.

        Displays show the last update, also by a later cell, and cleared output is left out. So are cells of which
        retention has removed events.
        """
        fold = SessionFold(self.id)
        async for event in self.events():
            if isinstance(event, ResetEvent):
                return await self.transcript()  # the events read so far are not the stored ones any more
            fold.add(event)
        return fold.cells()

    async def notebook(
        self, *, max_cell_bytes: int = MAX_CELL_BYTES, max_bytes: int = MAX_EXPORT_BYTES
    ) -> dict[str, Any]:
        """Return the session's record as a Jupyter notebook (nbformat 4.5), ready for `json.dump`.

        Cells have their outputs as Jupyter would save them, and in `metadata["skep"]` seq, cell_id, attempt, status and
        checkpoint. max_cell_bytes: of the outputs of a cell; max_bytes: of all code and outputs. An output says where
        something was left out for them. Raises NotFound, InvalidArgument, RedisUnavailable.
        """
        cell_bytes = int(check_number("max_cell_bytes", max_cell_bytes, low=0, high=HIGHEST_BYTES))
        all_bytes = int(check_number("max_bytes", max_bytes, low=0, high=HIGHEST_BYTES))
        document = None
        while document is None:  # once, unless Redis goes back to an earlier state meanwhile
            document = await fold_notebook(self.id, self.events(), max_cell_bytes=cell_bytes, max_bytes=all_bytes)
        if not document["cells"]:
            await self.info()
        return document

    async def html(self, *, max_cell_bytes: int = MAX_CELL_BYTES, max_bytes: int = MAX_EXPORT_BYTES) -> str:
        """Return the session's record as one page of HTML that needs no script, no network and no other file.

        Nothing in it can run code of the session or load anything. Limits and errors are those of `notebook`.
        """
        return await asyncio.to_thread(
            notebook_page, await self.notebook(max_cell_bytes=max_cell_bytes, max_bytes=max_bytes)
        )

    async def interrupt(self, cell_id: str | None = None) -> bool:
        """End the running cell, or the cell of this id; False if there was none to end.

        Raises NotFound for an unknown session or cell, RedisUnavailable.
        """
        if cell_id is not None:
            return await self.cell(cell_id).interrupt()
        return await self._control("interrupt", {})

    async def answer(self, text: str | None) -> bool:
        """Answer the running cell's input(); None is EOF. False if nothing runs. Raises NotFound, InvalidArgument."""
        if text is not None:
            # A lone surrogate can't be sent: it becomes `?` here, and the comparison below finds it.
            sent = text.encode("utf-8", "replace") if isinstance(text, str) else b""
            if len(sent) > MAX_ANSWER_BYTES or sent.decode() != text:
                limit = f"a str of valid Unicode and at most {MAX_ANSWER_BYTES} bytes, or None, is needed"
                raise InvalidArgument("text", text, limit)
        return await self._control("answer", InputAnswer(self.id, text).pack())

    async def complete(self, code: str, cursor: int | None = None) -> Completion:
        """Return completions at the cursor (in characters, default the end), also while a cell runs.

        Raises NotFound, OperationFailed, RedisUnavailable.
        """
        check_code(code)
        place = len(code) if cursor is None else int(check_number("cursor", cursor, low=0, high=len(code)))
        found = await self._operate("complete", {"code": code, "cursor": place})
        return Completion(tuple(found["matches"]), found["start"], found["end"], found["left_out"])

    async def is_complete(self, code: str) -> Completeness:
        """Return whether code is complete, also while a cell runs; a front end asks this at each Enter.

        A block is complete with the empty line that ends it. Raises as `complete` does.
        """
        found = await self._operate("is_complete", {"code": check_code(code)})
        return Completeness(found["status"], found["indent"])

    async def inspect(self, name: str) -> Inspection:
        """Return type, signature, documentation and source of a dotted name, also while a cell runs.

        Raises as `complete` does.
        """
        found = await self._operate("inspect", {"name": check_code(name)})
        known = {field.name: found.get(field.name) for field in fields(Inspection)}
        return Inspection(**known | {"cut": tuple(found.get("cut", ()))})

    async def variables(self) -> list[Variable]:
        """Return the names that cells have bound, also while a cell runs. Raises as `complete` does."""
        variables: list[Variable] = []
        while True:
            page = await self._operate("variables", {"start": len(variables)} if variables else {})
            variables += [Variable(**found) for found in page]
            if len(page) < PAGE_OF_VARIABLES:
                return variables

    async def _control(self, kind: RequestKind, extra: Mapping[str, Field]) -> bool:
        status = (await self._link.request(self.id, kind, fields=extra)).status
        if status is ControlStatus.UNKNOWN:
            raise NotFound("session", self.id)
        return status is ControlStatus.OK

    async def checkpoints(self) -> AsyncIterator[Checkpoint]:
        """Yield the stored checkpoints, oldest first. Raises RedisUnavailable."""
        async for checkpoint in list_checkpoints(self._link, self.id):
            yield checkpoint

    async def name_checkpoint(self, checkpoint_id: str, name: str | None) -> None:
        """Name a checkpoint; None removes its name. A named one is retained, and can be referred to by its name.

        Raises InvalidArgument (also for the name of another checkpoint), NotFound, RedisUnavailable.
        """
        await name_checkpoint(self._link, self.id, checkpoint_id, name)

    async def rollback(self, checkpoint_id: str) -> None:
        """Make an earlier checkpoint, by its id or name, the session's state; no cell may be running or pending.

        Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable.
        """
        checkpoint = await find_checkpoint(self._link, self.id, checkpoint_id)
        await self._operate(ROLLBACK, {"checkpoint": str(checkpoint)})

    async def fork(self, new_id: str, at: str | None = None, *, sandbox: str | None = None) -> "Session":
        """Create a session from a checkpoint of this one, by its id or name, by default the latest.

        From then on the two are independent. Stored data is not copied, and is retained as long as one of them needs
        it. Memory is not copied either, if this session is idle at that checkpoint when the new one's first cell runs.
        The new session has the options of this one. sandbox: the weakest tier that it may have, at least this one's.
        Raises InvalidArgument (also if `new_id` is taken), NotFound, OperationFailed, RedisFull, RedisUnavailable.
        """
        return (await self.fork_many([new_id], at, sandbox=sandbox))[0]

    async def fork_many(
        self, ids: Sequence[str], at: str | None = None, *, sandbox: str | None = None
    ) -> list["Session"]:
        """Create up to 1,000 sessions from one checkpoint, all or none. Raises what `fork` raises."""
        await fork_session(self._link, self.id, ids, at, sandbox)
        return [Session(self._link, self._replies, new_id) for new_id in ids]

    async def hibernate(self) -> None:
        """End the session's process now; its next cell restores it. No worker owns the session when this returns.

        No cell may be running or pending. Raises NotFound, OperationFailed, WaitTimeout, RedisUnavailable.
        """
        await self._operate(HIBERNATE, {})

    async def info(self) -> SessionInfo:
        """Return the session's state, owner, progress, limits, sandbox and network.

        Raises NotFound, RedisUnavailable.
        """
        link = self._link
        fields = await link.persist(lambda: link.redis.execute_command("HGETALL", link.keys.session(self.id)))
        if not fields:
            raise NotFound("session", self.id)
        owner = fields.get(b"owner", b"").decode()
        facts = await self._facts_of(owner) if owner else None
        return await describe_session(link, self.id, fields, facts, Shortages(link))

    async def _facts_of(self, worker_id: str) -> bytes | None:
        """Return what a worker reports of itself; None if it is not alive."""
        link = self._link
        command = ("HGET", link.keys.worker(worker_id), "facts")
        return cast("bytes | None", await link.persist(lambda: link.redis.execute_command(*command)))

    async def update(self, options: SessionOptions) -> None:
        """Change the options that are given here: labels, idle_seconds and expires_in; None means the default again.

        The others are what a running process was started with, or what its worker was chosen for; they are refused.
        Raises InvalidArgument, NotFound, SessionClosed, SignatureRefused, OperationFailed, RedisFull, RedisUnavailable.
        """
        await update_session(self._link, self.id, options)

    async def close(self, *, purge: bool = False, timeout: float = CLOSE_SECONDS) -> None:
        """End the session: interrupt its running cell and cancel its pending ones; `purge` also deletes its data.

        Raises NotFound, SignatureRefused, WaitTimeout if no worker ended it within `timeout` seconds, RedisUnavailable.
        """
        what = f"close of session {self._link.keys.full_id(self.id)!r}"
        closed = await self._link.persist(lambda: self._link.scripts.close(self.id))
        if closed.state == "UNKNOWN":
            raise NotFound("session", self.id)
        if closed.state == "UNSIGNED":
            raise SignatureRefused(what, OTHER_KEY)
        if closed.state == "CLOSING":
            try:
                async with asyncio.timeout(timeout):
                    async for event in followed_events(self._link, self.id, closed.last_event):
                        if isinstance(event, SessionClosedEvent):
                            break
                        if _is_refusal_of(what, event):
                            raise SignatureRefused(what, OTHER_KEY)
            except TimeoutError:
                raise WaitTimeout(f"the end of session {self.id!r}", timeout) from None
        if purge:
            await self._link.persist(lambda: self._link.scripts.purge(self.id))


def _is_refusal_of(what: str, event: Event) -> bool:
    """Return whether a worker has reported with this event that it refused a request for its signature."""
    return isinstance(event, WarningEvent) and event.category == REFUSED_CATEGORY and what in event.message
