"""A handle on one cell: its outcome, its events, and requests to end it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from skep.link import ShardLink
from skep.outcome import Outcome
from skep.reader import check_event_id, followed_events, stored_events
from skep.replies import ReplyReader, Ticket
from skep_shared.broker.activation import deferred_job_id
from skep_shared.broker.mailbox_entries import RequestKind
from skep_shared.broker.script_replies import ControlStatus, Placed
from skep_shared.errors import EventsTrimmed, NotFound, WaitTimeout
from skep_shared.events import CellFinished, CellQueued, Event, ResetEvent, TrimmedEvent, event_number
from skep_shared.models import from_ms

DUE_LOOK_SECONDS: Final = 0.2  # between looks for a cell that is due; a worker appends it at its next look for jobs


class Cell:
    """One cell of a session, submitted by this client or by another one.

    `seq` is its place in the session. It is None while this client doesn't know it: for a deferred cell, and for a cell
    that was looked up by its id.
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
        self._after = (
            after  # the last event of the session when this client found the cell; the cell's events follow it
        )
        self._is_deferred = is_deferred

    def __repr__(self) -> str:
        return f"<Cell {self.id!r} of session {self.session_id!r}>"

    @property
    def id(self) -> str:
        """The cell's id: the caller's idempotency key, or a generated id."""
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
        """Wait until the cell has ended, and return its outcome. An error of the cell's code is not raised.

        A deferred cell can be waited for before it is due, also that of another client. timeout: seconds, or a
        timedelta; WaitTimeout (a TimeoutError) ends the wait, not the cell. Raises NotFound for a cell that was never
        submitted, CellForgotten if Redis has lost it, EventsTrimmed if retention has removed its events,
        RedisUnavailable if Redis can't be reached for too long.
        """
        if timeout is None:
            await self._wait_until_appended()
            return await self._replies.outcome(self._ticket)
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self.outcome()
        except TimeoutError as exc:
            raise WaitTimeout(f"the end of cell {self.id!r} of session {self.session_id!r}", seconds) from exc

    async def outcome_now(self) -> Outcome | None:
        """Return the outcome if the cell has ended, otherwise None. Raises what `outcome` does, but no WaitTimeout."""
        await self._locate()
        return await self._replies.outcome(self._ticket) if self._ticket.reply.done() else None

    async def deferred_until(self) -> datetime | None:
        """Return when a deferred cell is due, None if it is in its session. Raises NotFound, RedisUnavailable.

        A time that has passed means that no worker has appended the cell yet. Known for cells that skep has deferred,
        not for jobs that a service has queued with plain arq.
        """
        return None if self._placed is not None else await self._find_or_due()

    async def events(self, after: str = "0-0") -> AsyncIterator[Event]:
        """Yield the cell's events after the id `after`, stored and live, up to its cell.finished.

        `after` is the id of an event that was read before, of this cell or another cell of its session: a reader that
        returns continues there. `events.reset` reports that Redis went back to an earlier state. Raises
        InvalidArgument, NotFound, CellForgotten, EventsTrimmed (for events after `after`), RedisUnavailable.
        """
        seen = check_event_id("after", after)
        await self._wait_until_appended()
        if self._is_deferred:  # not in the session yet: the number of its first event is unknown
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
            source = self._followed(max(await self._event_before(placed), seen))
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
            await self._check_known()
            yield reset
            seen = min(seen, event_number(reset.last))
            source = self._followed(event_number(reset.last))

    def _followed(self, after: int) -> AsyncIterator[Event]:
        return followed_events(self._link, self.session_id, after, on_silence=self._check_known)

    async def _check_known(self) -> None:
        """Raise CellForgotten if Redis has lost the cell."""
        if not self._ticket.reply.done():
            await self._replies.verify(self._ticket)
        if self._ticket.has_failed:
            self._ticket.reply.result()

    async def _check_floor(self, floor: int, seen: int) -> None:
        """Raise EventsTrimmed if events of this cell after `seen` have been removed; `floor` is the first one left."""
        await self._check_known()
        if self._ticket.reply.done():
            placed = self._ticket.reply.result().placed
            first = placed.first_event
            is_wanted = placed.final_event is None or seen < placed.final_event
            if first is not None and is_wanted and max(first, seen + 1) < floor:
                raise EventsTrimmed(self.session_id, self.id, first, floor)

    async def interrupt(self) -> bool:
        """End the cell, now or as soon as it starts; False if it has ended. Raises NotFound, RedisUnavailable."""
        return await self._control("interrupt")

    async def cancel(self) -> bool:
        """Cancel the cell if it has not started; False if it has ended. Its outcome says whether it was cancelled.

        Raises NotFound, RedisUnavailable.
        """
        return await self._control("cancel")

    async def _control(self, kind: RequestKind) -> bool:
        status = (await self._link.request(self.session_id, kind, cell_id=self.id)).status
        if status is ControlStatus.UNKNOWN:
            raise NotFound("cell", self.id)
        return status in {ControlStatus.OK, ControlStatus.KEPT}

    async def _locate(self) -> datetime | None:
        """Ask for the outcome to be sent to this client, also for a cell that another client submitted.

        Return when it is due if it is not in its session yet and this client has not submitted it.
        """
        if self._placed is not None or self._is_deferred or self._ticket.reply.done():
            return None
        return await self._find_or_due()

    async def _find_or_due(self) -> datetime | None:
        """Find the cell in its session, or return when it is due. Raises NotFound."""
        if await self._is_in_session():
            return None
        redis, keys = self._link.redis, self._link.keys
        job_id = deferred_job_id(keys, self.session_id, self.id)
        score = await self._link.persist(lambda: redis.execute_command("ZSCORE", keys.arq_queue, job_id))
        if score is not None:
            return from_ms(float(score))
        if not await self._is_in_session():  # it may have been appended between the two looks
            raise NotFound("cell", self.id)
        return None

    async def _is_in_session(self) -> bool:
        watched = await self._replies.look_up(self._ticket)
        if watched is None:
            return False
        self._placed, self._after = watched.cell, 0 if watched.cell.first_event is None else watched.last_event
        return True

    async def _wait_until_appended(self) -> None:
        """Wait until a cell that another client has deferred is in its session. Raises NotFound."""
        while (due := await self._locate()) is not None:
            seconds = (due - datetime.now(UTC)).total_seconds()  # by this client's clock, so only up to a bound
            await asyncio.sleep(min(max(seconds, DUE_LOOK_SECONDS), self._link.settings.block_seconds))

    async def _event_before(self, placed: Placed | None) -> int:
        """Return the number of an event before a pending cell's first one.

        If another client submitted the cell, its first event is searched for.
        """
        if self._after or placed is None:
            return self._after
        async for event in stored_events(self._link, self.session_id, 0):
            if isinstance(event, CellQueued) and event.cell_id == self.id:
                return int(event.id.partition("-")[0]) - 1
        return 0
