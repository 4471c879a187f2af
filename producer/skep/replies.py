"""Outcomes for one client process, from its reply stream: any number of waits on one blocking read.

A ticket is what a cell handle holds; a reply finds it by session and cell id. Nobody holds a ticket any more: its reply
is passed over. After a lost connection every open ticket is asked for again, in case its reply was trimmed or expired.
"""

import asyncio
import contextlib
import uuid
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from redis.exceptions import RedisError

from skep.link import ShardLink
from skep.outcome import Outcome, fold_outcome
from skep.reader import stored_events
from skep_shared.errors import OperationFailed, SkepError
from skep_shared.events import EVENT_FIELD, unpack_event
from skep_shared.scripts import Placed, Watched
from skep_shared.values import decode_value


@dataclass(frozen=True, slots=True)
class Reply:
    """A committed cell: where its events are, and the events themselves if they came along."""

    placed: Placed
    events: tuple[bytes, ...] = ()


class Ticket:
    """One cell's outcome to come."""

    def __init__(self, session_id: str, cell_id: str) -> None:
        self.session_id = session_id
        self.cell_id = cell_id
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def settle(self, reply: Reply) -> None:
        """Take the reply; the first one counts."""
        if not self.reply.done():
            self.reply.set_result(reply)


class Operation:
    """An operation's result to come."""

    def __init__(self) -> None:
        self.id: Final = uuid.uuid4().hex
        self.reply: asyncio.Future[tuple[bool, bytes]] = asyncio.get_running_loop().create_future()

    async def result(self) -> Any:
        """Wait for the result. Raises OperationFailed."""
        is_error, payload = await self.reply
        if is_error:
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

    def ticket(self, session_id: str, cell_id: str) -> Ticket:
        """Give the cell's ticket; before it is submitted, so that no reply can come too early."""
        ticket = self._tickets.get((session_id, cell_id))
        if ticket is None:
            ticket = self._tickets[session_id, cell_id] = Ticket(session_id, cell_id)
        self._ensure_running()
        return ticket

    def operation(self) -> Operation:
        """Give a new operation, whose answer will be found while it is held."""
        operation = Operation()
        self._operations[operation.id] = operation
        self._ensure_running()
        return operation

    def _ensure_running(self) -> None:
        self._was_used = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="skep replies")

    async def aclose(self) -> None:
        """Stop reading; waits for outcomes end with CancelledError."""
        for ticket in list(self._tickets.values()):
            ticket.reply.cancel()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])  # awaiting the task itself, its cancellation would hide the caller's own
            if not task.cancelled():
                task.result()
        # Tried once: the stream has a TTL, and whoever leaves must not wait for a Redis that is away.
        if self._was_used:
            with contextlib.suppress(RedisError, OSError):
                await self._link.redis.delete(self._link.keys.replies(self.client_id))

    async def outcome(self, ticket: Ticket) -> Outcome:
        """Wait for the cell's outcome. Raises RedisUnavailable if Redis stays away."""
        reply = await asyncio.shield(ticket.reply)
        sid, placed = ticket.session_id, reply.placed
        first, final = placed.first_event or 1, placed.final_event or 0
        if reply.events:
            events = [unpack_event(sid, f"{first + i}-0", packed) for i, packed in enumerate(reply.events)]
        else:
            events = [event async for event in stored_events(self._link, sid, first - 1, final)]
        return fold_outcome(sid, ticket.cell_id, events)

    async def _run(self) -> None:
        try:
            async for entries in self._link.follow_stream(self._link.keys.replies(self.client_id), "0-0"):
                for _, fields in entries:
                    self._take(fields)
                if not entries:
                    await self._ask_again()
        except SkepError as exc:
            self._task = None  # the next ticket starts another one
            for ticket in list(self._tickets.values()):
                if not ticket.reply.done():
                    ticket.reply.set_exception(exc)
                    ticket.reply.exception()  # seen: nobody may be waiting

    def _take(self, fields: list[bytes]) -> None:
        pairs = list(zip(fields[::2], fields[1::2], strict=True))
        named = dict(pairs)
        if b"o" in named:
            operation = self._operations.get(named[b"o"].decode())
            if operation is not None and not operation.reply.done():
                operation.reply.set_result((named[b"x"] == b"1", named[b"d"]))
            return
        ticket = self._tickets.get((named[b"s"].decode(), named[b"c"].decode()))
        if ticket is not None:
            placed = Placed(int(named[b"q"]), int(named[b"f"]), int(named[b"l"]))
            ticket.settle(Reply(placed, tuple(value for name, value in pairs if name == EVENT_FIELD)))

    async def _ask_again(self) -> None:
        """After a silence, look at the cells themselves: a reply can be lost, an outcome can't."""
        for ticket in list(self._tickets.values()):
            if not ticket.reply.done():
                await self.look_up(ticket)

    async def look_up(self, ticket: Ticket) -> Watched | None:
        """Find a cell that may have been submitted by anybody; its ticket is settled, now or when it commits."""
        watched = await self._link.persist(
            lambda: self._link.scripts.watch(ticket.session_id, ticket.cell_id, client_id=self.client_id)
        )
        if watched is None:
            return None
        if watched.cell.final_event is not None:
            ticket.settle(Reply(watched.cell))
        return watched
