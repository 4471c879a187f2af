"""Outcomes for one client process, from its reply stream: any number of waits on one blocking read.

A ticket is what a cell handle holds; a reply finds it by session and cell id. Nobody holds a ticket any more: its reply
is passed over. After a lost connection, and now and then, every open ticket is asked for again: its reply may have been
trimmed or expired, and Redis may have gone back and not know the cell any more, which nobody but its owner can mend.
"""

import asyncio
import contextlib
import time
import uuid
import warnings
import weakref
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from skep.link import Page, ShardLink
from skep.outcome import NO_PART_OF_OUTCOMES, Outcome, fold_outcome
from skep.reader import stored_events
from skep_shared.errors import CellForgotten, EventsTrimmed, OperationFailed, ProtocolError, SkepError
from skep_shared.event_codec import EVENT_FIELD, unpack_events
from skep_shared.events import Event, ResetEvent, TrimmedEvent, event_number
from skep_shared.foreign_errors import describe_error
from skep_shared.redis_errors import REDIS_ERRORS
from skep_shared.script_replies import Placed, Watched
from skep_shared.server_check import as_skep_error
from skep_shared.states import AnswerKind
from skep_shared.values import decode_value

ASK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A committed cell: where its events are, and the events themselves if they came along."""

    placed: Placed
    events: tuple[bytes, ...] = ()


class Ticket:
    """One cell's outcome to come. `seq` is its place in the session, None until Redis has said that it has the cell."""

    def __init__(self, session_id: str, cell_id: str) -> None:
        self.session_id = session_id
        self.cell_id = cell_id
        self.seq: int | None = None
        self.outcome: Outcome | None = None  # once somebody has waited for it: its events may go from Redis
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiters: list[asyncio.Future[asyncio.Future[Reply]]] = []

    @property
    def has_failed(self) -> bool:
        """Tell whether nothing will come to this ticket."""
        return self.reply.done() and (self.reply.cancelled() or self.reply.exception() is not None)

    async def wait(self) -> Reply:
        """Wait for the reply; a wait that is cancelled leaves the others alone. Raises what `fail` was given."""
        reply = self.reply
        if not reply.done():
            waiter: asyncio.Future[asyncio.Future[Reply]] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)  # not asyncio.shield: that takes another turn of the loop for each reply
            try:
                reply = await waiter  # as it is then: it may have been opened again before
            finally:
                self._waiters.remove(waiter)
        return reply.result()

    def reopen(self) -> None:
        """Wait again: what the reply said doesn't hold any more, or the wait for it has failed."""
        if self.reply.done():
            self.reply = asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        """Let waits end with CancelledError."""
        self.reply.cancel()
        self._wake()

    def fail(self, exc: SkepError) -> None:
        """Let waits end with this error, if there is no reply yet."""
        if not self.reply.done():
            self.reply.set_exception(exc)
            self.reply.exception()  # seen: nobody may be waiting
            self._wake()

    def settle(self, reply: Reply) -> None:
        """Take the reply; the first one counts."""
        if not self.reply.done():
            self.reply.set_result(reply)
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(self.reply)


class Moved(Exception):
    """The session has left the worker that the operation was sent to: it has to be sent again."""


class Operation:
    """An operation's result to come."""

    def __init__(self) -> None:
        self.id: Final = uuid.uuid4().hex
        self.reply: asyncio.Future[tuple[AnswerKind, bytes]] = asyncio.get_running_loop().create_future()

    def fail(self, exc: SkepError) -> None:
        """Let the wait end with this error, if there is no result yet."""
        if not self.reply.done():
            self.reply.set_exception(exc)
            self.reply.exception()  # seen: nobody may be waiting

    async def result(self) -> Any:
        """Wait for the result. Raises OperationFailed, Moved."""
        kind, payload = await self.reply
        if kind is AnswerKind.MOVED:
            raise Moved
        if kind is AnswerKind.ERROR:
            raise OperationFailed(str(decode_value(payload)))
        return decode_value(payload)


class ReplyReader:
    """Reads the client's reply stream while anybody waits."""

    def __init__(self, link: ShardLink, client_id: str) -> None:
        self._link = link
        self.client_id: Final = client_id
        self._tickets: WeakValueDictionary[tuple[str, str], Ticket] = WeakValueDictionary()
        self._operations: WeakValueDictionary[str, Operation] = WeakValueDictionary()
        self._task: asyncio.Task[None] | None = None
        self._was_used = False
        self._is_closed = False

    def ticket(self, session_id: str, cell_id: str) -> Ticket:
        """Give the cell's ticket; before it is submitted, so that no reply can come too early.

        Raises ClientUnusable.
        """
        self._link.check_use()
        ticket = self._tickets.get((session_id, cell_id))
        if ticket is None:
            ticket = self._tickets[session_id, cell_id] = Ticket(session_id, cell_id)
        elif ticket.has_failed:
            ticket.seq = None  # it may be submitted anew, which Redis doesn't know yet
            ticket.reopen()
        self._ensure_running()
        return ticket

    def operation(self) -> Operation:
        """Give a new operation, whose answer will be found while it is held. Raises ClientUnusable."""
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
        """Let the connections go that nobody else would close, and say whose fault that is."""
        if not self._is_closed and self._was_used and self._link.is_own_process:
            warnings.warn("a skep client was dropped without being closed", ResourceWarning, source=self, stacklevel=2)
            self._link.abandon()

    async def aclose(self) -> None:
        """Stop reading; waits for outcomes end with CancelledError. In a fork of the client's process: do nothing."""
        self._is_closed = True
        if not self._link.is_own_process:
            return
        for ticket in list(self._tickets.values()):
            ticket.cancel()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])  # awaiting the task itself, its cancellation would hide the caller's own
            if not task.cancelled():
                task.result()
        # Tried once: the stream has a TTL, and whoever leaves must not wait for a Redis that is away.
        if self._was_used:
            with contextlib.suppress(*REDIS_ERRORS):
                await self._link.redis.delete(self._link.keys.replies(self.client_id))

    async def outcome(self, ticket: Ticket) -> Outcome:
        """Wait for the cell's outcome.

        Raises EventsTrimmed, CellForgotten, ClientUnusable; RedisUnavailable if Redis stays away, RedisRefused. A wait
        that has failed can be begun again.
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
            # Redis went back after it had said that the cell was done.
            ticket.reopen()
            self._ensure_running()
            await self.verify(ticket)

    async def _events(self, ticket: Ticket, reply: Reply) -> list[Event] | None:
        """Give the done cell's events; None if Redis has lost them. Raises EventsTrimmed, RedisUnavailable."""
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

    async def take_page(self, entries: Page, asked_at: float) -> float:
        """Take a page of replies; gives when the open tickets were asked for the last time."""
        for _, fields in entries:
            with contextlib.suppress(KeyError, ValueError):  # no reply of ours: the cells are asked for in a while
                self._take(fields)
        await asyncio.sleep(0)  # first whoever got a reply, perhaps with the next cell; then the next read
        # While replies keep coming too: one of them may have been trimmed.
        if not entries or time.monotonic() > asked_at + ASK_SECONDS:
            await self._ask_again()
            return time.monotonic()
        return asked_at

    def fail(self, exc: SkepError) -> None:
        """Let every wait end with this error. The next ticket, or the next wait, reads again."""
        self._task = None
        for ticket in list(self._tickets.values()):
            ticket.fail(exc)
        for operation in list(self._operations.values()):
            operation.fail(exc)

    def _take(self, fields: list[bytes]) -> None:
        pairs = list(zip(fields[::2], fields[1::2], strict=True))
        named = dict(pairs)
        if b"o" in named:
            operation = self._operations.get(named[b"o"].decode())
            if operation is not None and not operation.reply.done():
                operation.reply.set_result((AnswerKind(int(named[b"x"])), named[b"d"]))
            return
        ticket = self._tickets.get((named[b"s"].decode(), named[b"c"].decode()))
        if ticket is not None:
            placed = Placed(int(named[b"q"]), int(named[b"f"]), int(named[b"l"]))
            ticket.settle(Reply(placed, tuple(value for name, value in pairs if name == EVENT_FIELD)))

    async def _ask_again(self) -> None:
        """After a silence, look at the cells themselves: a reply can be lost, an outcome can't."""
        for ticket in list(self._tickets.values()):
            if not ticket.reply.done():
                await self.verify(ticket)

    async def verify(self, ticket: Ticket) -> None:
        """Look whether the cell is still known; if it was, and isn't, waits for it end with CellForgotten."""
        seq = ticket.seq  # before the look: a submit may be under way
        if await self.look_up(ticket) is None and seq is not None:
            redis, key = self._link.redis, self._link.keys.session(ticket.session_id)
            last = await self._link.persist(lambda: redis.execute_command("HGET", key, "seq"))
            ticket.fail(CellForgotten(ticket.session_id, ticket.cell_id, seq, int(last or 0)))

    async def look_up(self, ticket: Ticket) -> Watched | None:
        """Find a cell that may have been submitted by anybody; its ticket is settled, now or when it commits."""
        watched = await self._link.persist(
            lambda: self._link.scripts.watch(ticket.session_id, ticket.cell_id, client_id=self.client_id)
        )
        if watched is None:
            return None
        ticket.seq = watched.cell.seq
        if watched.cell.final_event is not None:
            ticket.settle(Reply(watched.cell))
        return watched


async def _read_while_held(held: "weakref.ref[ReplyReader]", link: ShardLink, client_id: str) -> None:
    """Read replies until cancelled or failed, which everybody who waits is told; also until nobody holds the reader."""
    asked_at = time.monotonic()
    failure: SkepError | None = None
    try:
        async with contextlib.aclosing(link.follow_replies(client_id)) as pages:
            async for entries in pages:
                reader = held()
                if reader is None:
                    break
                asked_at = await reader.take_page(entries, asked_at)
                del reader  # while this waits for the next page nobody may hold it
    except SkepError as exc:
        failure = exc
    except REDIS_ERRORS as exc:
        failure = as_skep_error(link.settings, exc)
    except Exception as exc:  # noqa: BLE001 - a defect of ours: whoever waits must hear of it, not wait for ever
        failure = ProtocolError(f"the client's replies can't be read: {describe_error(exc)}")
        failure.__cause__ = exc
    reader = held()
    if reader is not None and failure is not None:
        reader.fail(failure)
