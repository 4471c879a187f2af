"""Outcomes for one client process, from its reply stream: any number of waits on one blocking read.

A cell handle holds a ticket; a reply finds it by session and cell id, and is ignored if no handle is left. After a lost
connection, and every so often, Redis is asked again for the cell of every open ticket: the reply may have been trimmed
or expired, and Redis may have gone back to a state without the cell, which only the session's owner can repair.
"""

import asyncio
import contextlib
import time
import uuid
import warnings
import weakref
from typing import Any, Final
from weakref import WeakValueDictionary

from skep.link import Page, ShardLink
from skep.outcome import NO_PART_OF_OUTCOMES, Outcome, fold_outcome
from skep.reader import stored_events
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.broker.reply_entries import CommittedCell, OperationAnswer, unpack_reply
from skep_shared.broker.script_replies import Watched
from skep_shared.broker.server_check import as_skep_error
from skep_shared.errors import (
    CellForgotten,
    EventsTrimmed,
    OperationFailed,
    ProtocolError,
    RedisFull,
    SignatureRefused,
    SkepError,
)
from skep_shared.event_codec import unpack_events
from skep_shared.events import Event, ResetEvent, TrimmedEvent, event_number
from skep_shared.foreign_errors import describe_error
from skep_shared.states import AnswerKind
from skep_shared.values import decode_value

ASK_SECONDS: Final = 30.0


class Ticket:
    """The wait for one cell's outcome. `seq` is its place in the session, None until Redis has confirmed the cell."""

    def __init__(self, session_id: str, cell_id: str) -> None:
        self.session_id = session_id
        self.cell_id = cell_id
        self.seq: int | None = None
        self.outcome: Outcome | None = None  # kept after the first wait: retention may remove its events
        self.reply: asyncio.Future[CommittedCell] = asyncio.get_running_loop().create_future()
        self._waiters: list[asyncio.Future[asyncio.Future[CommittedCell]]] = []

    @property
    def has_failed(self) -> bool:
        """Return whether the wait has failed, so that no reply will come to this ticket."""
        return self.reply.done() and (self.reply.cancelled() or self.reply.exception() is not None)

    async def wait(self) -> CommittedCell:
        """Wait for the reply; cancelling one wait leaves the others alone. Raises the error passed to `fail`."""
        reply = self.reply
        if not reply.done():
            waiter: asyncio.Future[asyncio.Future[CommittedCell]] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)  # not asyncio.shield, which costs each reply another turn of the loop
            try:
                reply = await waiter  # the ticket's reply at that time: it may have been reopened
            finally:
                self._waiters.remove(waiter)
        return reply.result()

    def reopen(self) -> None:
        """Wait again: the reply doesn't hold any more, or the wait for it has failed."""
        if self.reply.done():
            self.reply = asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        """End all waits with CancelledError."""
        self.reply.cancel()
        self._wake()

    def fail(self, exc: SkepError) -> None:
        """End all waits with this error, if there is no reply yet."""
        if not self.reply.done():
            self.reply.set_exception(exc)
            self.reply.exception()  # retrieved: there may be no waiter
            self._wake()

    def settle(self, reply: CommittedCell) -> None:
        """End all waits with this reply; only the first one counts."""
        if not self.reply.done():
            self.reply.set_result(reply)
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(self.reply)


class Moved(Exception):
    """The session has left the worker that the operation was sent to, so the operation has to be sent again."""


class Operation:
    """The wait for the answer to one operation."""

    def __init__(self) -> None:
        self.id: Final = uuid.uuid4().hex
        self.reply: asyncio.Future[OperationAnswer] = asyncio.get_running_loop().create_future()

    def fail(self, exc: SkepError) -> None:
        """End the wait with this error, if there is no result yet."""
        if not self.reply.done():
            self.reply.set_exception(exc)
            self.reply.exception()  # retrieved: there may be no waiter

    async def is_answered_within(self, seconds: float) -> bool:
        """Return whether the answer is there, after waiting for it for at most so long."""
        await asyncio.wait([self.reply], timeout=seconds)
        return self.reply.done()

    def result(self) -> Any:
        """Return the result of an answered operation. Raises OperationFailed, RedisFull, SignatureRefused, Moved."""
        answer = self.reply.result()
        kind, payload = answer.kind, answer.payload
        if kind is AnswerKind.MOVED:
            raise Moved
        if kind is AnswerKind.ERROR:
            raise OperationFailed(str(decode_value(payload)))
        if kind is AnswerKind.FULL:
            raise RedisFull(str(decode_value(payload)))
        if kind is AnswerKind.UNSIGNED:
            raise SignatureRefused(*decode_value(payload))
        return decode_value(payload)


class ReplyReader:
    """Reads the client's reply stream from the first ticket or operation on."""

    def __init__(self, link: ShardLink, client_id: str) -> None:
        self._link = link
        self.client_id: Final = client_id
        self._tickets: WeakValueDictionary[tuple[str, str], Ticket] = WeakValueDictionary()
        self._operations: WeakValueDictionary[str, Operation] = WeakValueDictionary()
        self._task: asyncio.Task[None] | None = None
        self._was_used = False
        self._is_closed = False

    def ticket(self, session_id: str, cell_id: str) -> Ticket:
        """Return the cell's ticket; to be called before the submit, so that no reply can come too early.

        Raises ClientUnusable.
        """
        self._link.check_use()
        ticket = self._tickets.get((session_id, cell_id))
        if ticket is None:
            ticket = self._tickets[session_id, cell_id] = Ticket(session_id, cell_id)
        elif ticket.has_failed:
            ticket.seq = None  # it may be submitted again, which Redis doesn't know yet
            ticket.reopen()
        self._ensure_running()
        return ticket

    def operation(self) -> Operation:
        """Return a new operation; its answer is delivered while the caller holds it. Raises ClientUnusable."""
        self._link.check_use()
        operation = Operation()
        self._operations[operation.id] = operation
        self._ensure_running()
        return operation

    def _ensure_running(self) -> None:
        self._was_used = True
        if self._task is None or self._task.done():
            reading = _read_while_held(weakref.ref(self), self._link, self.client_id)
            self._task = asyncio.get_running_loop().create_task(reading, name="skep replies")

    def __del__(self) -> None:
        """Close the connections of a client that was dropped without being closed, and warn about it."""
        if not self._is_closed and self._was_used and self._link.is_own_process:
            warnings.warn("a skep client was dropped without being closed", ResourceWarning, source=self, stacklevel=2)
            self._link.abandon()

    async def aclose(self) -> None:
        """Stop reading; waits for outcomes end with CancelledError. Do nothing in a fork of the client's process."""
        self._is_closed = True
        if not self._link.is_own_process:
            return
        for ticket in list(self._tickets.values()):
            ticket.cancel()
        task = self._task
        if task is not None:
            await cancel_until_ended([task])
            if not task.cancelled():
                task.result()
        # Tried once: the stream has a TTL, and closing must not wait for a Redis that can't be reached.
        if self._was_used:
            with contextlib.suppress(*REDIS_ERRORS):
                await self._link.redis.delete(self._link.keys.replies(self.client_id))

    async def outcome(self, ticket: Ticket) -> Outcome:
        """Wait for the cell's outcome.

        Raises EventsTrimmed, CellForgotten, ClientUnusable, RedisRefused, and RedisUnavailable if Redis can't be
        reached for too long. A caller may wait again after a failure.
        """
        self._link.check_use()
        if ticket.has_failed:
            ticket.reopen()
            self._ensure_running()
            await self.verify(ticket)
        while True:
            reply = await ticket.wait()
            if ticket.outcome is not None:
                return ticket.outcome
            events = await self._events(ticket, reply)
            if events is not None:
                ticket.outcome = fold_outcome(ticket.session_id, ticket.cell_id, events)
                return ticket.outcome
            # Redis went back to an earlier state after it had reported that the cell was done.
            ticket.reopen()
            self._ensure_running()
            await self.verify(ticket)

    async def _events(self, ticket: Ticket, reply: CommittedCell) -> list[Event] | None:
        """Return the done cell's events; None if Redis has lost them. Raises EventsTrimmed, RedisUnavailable."""
        sid, placed = ticket.session_id, reply.placed
        first, final = placed.first_event or 1, placed.final_event or 0
        if reply.events:
            return list(unpack_events(sid, first, reply.events, but=NO_PART_OF_OUTCOMES))
        events: list[Event] = []
        async for event in stored_events(self._link, sid, first - 1, final):
            if isinstance(event, TrimmedEvent):
                raise EventsTrimmed(sid, ticket.cell_id, first, event_number(event.floor))
            if isinstance(event, ResetEvent):
                return None
            events.append(event)
        return events

    async def receive_page(self, entries: Page, asked_at: float) -> float:
        """Deliver a page of replies; return when Redis was last asked for the cells of open tickets."""
        for _, fields in entries:
            # An entry that is damaged, or not written by skep, is skipped: `_ask_again` finds the outcome.
            with contextlib.suppress(KeyError, ValueError):
                self._receive(fields)
        await asyncio.sleep(0)  # callers that got a reply run before the next read, and may submit the next cell
        # Also while replies keep coming: one of them may have been trimmed.
        if not entries or time.monotonic() > asked_at + ASK_SECONDS:
            await self._ask_again()
            return time.monotonic()
        return asked_at

    def fail(self, exc: SkepError) -> None:
        """End every wait with this error. The next ticket, or the next wait, starts reading again."""
        self._task = None
        for ticket in list(self._tickets.values()):
            ticket.fail(exc)
        for operation in list(self._operations.values()):
            operation.fail(exc)

    def _receive(self, fields: list[bytes]) -> None:
        reply = unpack_reply(fields)
        if isinstance(reply, OperationAnswer):
            operation = self._operations.get(reply.operation_id)
            if operation is not None and not operation.reply.done():
                operation.reply.set_result(reply)
            return
        ticket = self._tickets.get((self._link.keys.short_id(reply.session_id), reply.cell_id))
        if ticket is not None:
            ticket.settle(reply)

    async def _ask_again(self) -> None:
        """Look up the cells of all open tickets: replies can get lost, outcomes can't."""
        for ticket in list(self._tickets.values()):
            if not ticket.reply.done():
                await self.verify(ticket)

    async def verify(self, ticket: Ticket) -> None:
        """Look up the cell; end the waits for a confirmed cell that Redis has lost with CellForgotten."""
        seq = ticket.seq  # read before the look-up: a submit may be in progress
        if await self.look_up(ticket) is None and seq is not None:
            redis, key = self._link.redis, self._link.keys.session(ticket.session_id)
            last = await self._link.persist(lambda: redis.execute_command("HGET", key, "seq"))
            ticket.fail(CellForgotten(ticket.session_id, ticket.cell_id, seq, int(last or 0)))

    async def look_up(self, ticket: Ticket) -> Watched | None:
        """Find a cell of any client; its ticket is settled now or when the cell commits. None if it is unknown."""
        watched = await self._link.persist(
            lambda: self._link.scripts.watch(ticket.session_id, ticket.cell_id, client_id=self.client_id)
        )
        if watched is None:
            return None
        ticket.seq = watched.cell.seq
        if watched.cell.final_event is not None:
            ticket.settle(CommittedCell(ticket.session_id, ticket.cell_id, watched.cell))
        return watched


async def _read_while_held(held: "weakref.ref[ReplyReader]", link: ShardLink, client_id: str) -> None:
    """Read replies until cancelled, or until the reader is dropped; report a failure to every wait."""
    asked_at = time.monotonic()
    failure: SkepError | None = None
    try:
        async with contextlib.aclosing(link.follow_replies(client_id)) as pages:
            async for entries in pages:
                reader = held()
                if reader is None:
                    break
                asked_at = await reader.receive_page(entries, asked_at)
                del reader  # no reference during the wait for the next page, so that a dropped client is noticed
    except SkepError as exc:
        failure = exc
    except REDIS_ERRORS as exc:
        failure = as_skep_error(link.settings, exc)
    except Exception as exc:  # noqa: BLE001 - a defect: every wait must end with it, not hang
        failure = ProtocolError(f"the client's replies can't be read: {describe_error(exc)}")
        failure.__cause__ = exc
    reader = held()
    if reader is not None and failure is not None:
        reader.fail(failure)
