"""A handle on one cell: its outcome, its events, its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from skep.link import ShardLink
from skep.outcome import Outcome
from skep.reader import check_event_id, followed_events, stored_events
from skep.replies import ReplyReader, Ticket
from skep_shared.errors import EventsTrimmed, NotFound, WaitTimeout
from skep_shared.events import CellFinished, CellQueued, Event, ResetEvent, TrimmedEvent, event_number
from skep_shared.script_replies import ControlStatus, Placed


class Cell:
    """One cell of a session, submitted by this client or by anybody.

    `seq` is its place in the session, None while that isn't known here (a deferred cell, or one that was only named).
    """

    def __init__(
        self,
        link: ShardLink,
        replies: ReplyReader,
        ticket: Ticket,
        *,
        placed: Placed | None = None,
        after: int = 0,
        is_deferred: bool = False,
    ) -> None:
        self._link = link
        self._replies = replies
        self._ticket = ticket
        self._placed = placed
        self._after = after
        self._is_deferred = is_deferred

    def __repr__(self) -> str:
        return f"<Cell {self.id!r} of session {self.session_id!r}>"

    @property
    def id(self) -> str:
        """The cell's id: the caller's idempotency key, or a generated one."""
        return self._ticket.cell_id

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._ticket.session_id

    @property
    def seq(self) -> int | None:
        """The cell's place in its session, from 1."""
        return self._placed.seq if self._placed is not None else None

    async def outcome(self, timeout: float | timedelta | None = None) -> Outcome:
        """Wait for the cell's end; never raises for what its code did.

        timeout: seconds, or a timedelta; WaitTimeout (a TimeoutError) then ends the wait only. Raises NotFound for a
        cell nobody submitted, CellForgotten if Redis has lost it, EventsTrimmed if retention has removed its events,
        RedisUnavailable if Redis stays away.
        """
        if timeout is None:
            await self._locate()
            return await self._replies.outcome(self._ticket)
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self.outcome()
        except TimeoutError as exc:
            raise WaitTimeout(f"the end of cell {self.id!r} of session {self.session_id!r}", seconds) from exc

    async def events(self, after: str = "0-0") -> AsyncIterator[Event]:
        """Yield the cell's events behind the id `after`, live; ends after its cell.finished.

        `after` is the id of an event that was read before, of this cell or another of its session: a reader that comes
        back goes on there. Where Redis went back, `events.reset` says so. Raises InvalidArgument, NotFound,
        CellForgotten, EventsTrimmed (of those behind `after`), RedisUnavailable.
        """
        seen = check_event_id("after", after)
        await self._locate()
        if self._is_deferred:  # not in the session yet: where its events will begin isn't known
            await self._ticket.wait()
        placed = self._placed
        if self._ticket.reply.done() and not self._ticket.reply.cancelled():
            placed = self._ticket.reply.result().placed
        if placed is not None and placed.first_event is not None:
            if placed.final_event is not None and seen >= placed.final_event:
                return
            start = max(placed.first_event - 1, seen)
            source = stored_events(self._link, self.session_id, start, placed.final_event)
        else:
            source = self._followed(max(await self._first_look(placed), seen))
        while True:
            reset: ResetEvent | None = None
            async for event in source:
                if isinstance(event, TrimmedEvent):
                    await self._check_floor(event_number(event.floor), seen)
                elif isinstance(event, ResetEvent):
                    reset = event
                    break
                elif event.cell_id == self.id:
                    yield event
                    if isinstance(event, CellFinished):
                        return
            if reset is None:
                return
            self._ticket.reopen()  # it may be pending again
            await self._make_sure()
            yield reset
            seen = min(seen, event_number(reset.last))
            source = self._followed(event_number(reset.last))

    def _followed(self, after: int) -> AsyncIterator[Event]:
        return followed_events(self._link, self.session_id, after, on_silence=self._make_sure)

    async def _make_sure(self) -> None:
        """Look whether the cell is still known. Raises CellForgotten."""
        if not self._ticket.reply.done():
            await self._replies.verify(self._ticket)
        if self._ticket.has_failed:
            self._ticket.reply.result()

    async def _check_floor(self, floor: int, seen: int) -> None:
        """Make sure that none of this cell's events behind `seen` are among those that are trimmed."""
        await self._make_sure()
        if self._ticket.reply.done():
            placed = self._ticket.reply.result().placed
            first = placed.first_event
            is_wanted = placed.final_event is None or seen < placed.final_event
            if first is not None and is_wanted and max(first, seen + 1) < floor:
                raise EventsTrimmed(self.session_id, self.id, first, floor)

    async def interrupt(self) -> bool:
        """End the cell, now or when it starts; False if it has ended. Raises NotFound, RedisUnavailable."""
        return await self._control("interrupt")

    async def cancel(self) -> bool:
        """Take the cell out if it has not started; False if it has ended. Its outcome tells which it was.

        Raises NotFound, RedisUnavailable.
        """
        return await self._control("cancel")

    async def _control(self, kind: str) -> bool:
        status = (await self._link.request(self.session_id, kind, cell_id=self.id)).status
        if status is ControlStatus.UNKNOWN:
            raise NotFound("cell", self.id)
        return status in {ControlStatus.OK, ControlStatus.KEPT}

    async def _locate(self) -> None:
        """Make sure that the outcome will come here, whoever submitted the cell."""
        if self._placed is not None or self._is_deferred or self._ticket.reply.done():
            return
        watched = await self._replies.look_up(self._ticket)
        if watched is None:
            raise NotFound("cell", self.id)
        self._placed, self._after = watched.cell, 0 if watched.cell.first_event is None else watched.last_event

    async def _first_look(self, placed: Placed | None) -> int:
        """Give the number before the first event of a pending cell: known if we submitted it, else to be found."""
        if self._after or placed is None:
            return self._after
        async for event in stored_events(self._link, self.session_id, 0):
            if isinstance(event, CellQueued) and event.cell_id == self.id:
                return int(event.id.partition("-")[0]) - 1
        return 0
