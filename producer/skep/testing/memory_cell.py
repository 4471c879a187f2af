"""A handle on a cell of a MemoryCluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Final, cast

from skep.cell import Cell
from skep.link import ShardLink
from skep.outcome import Outcome
from skep.reader import check_event_id
from skep.replies import ReplyReader, Ticket
from skep.testing.memory_record import CellRecord, SessionRecord
from skep.testing.refusals import NoLink, refuses_the_rest_of
from skep_shared.errors import NotFound, WaitTimeout
from skep_shared.events import CellFinished, Event

FindRecord = Callable[[], SessionRecord | None]


@refuses_the_rest_of(Cell, inherited=frozenset())
class MemoryCell(Cell):
    """One cell of a session in memory, with the methods of a Cell."""

    def __init__(self, link: NoLink, session_id: str, cell_id: str, find: FindRecord, seq: int | None = None) -> None:
        nothing = cast("object", link)
        super().__init__(cast("ShardLink", nothing), cast("ReplyReader", nothing), cast("Ticket", nothing))
        self._session_id: Final = session_id
        self._cell_id: Final = cell_id
        self._find = find
        self._seq = seq

    @property
    def id(self) -> str:
        """The cell's id, its idempotency key, or a generated id."""
        return self._cell_id

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._session_id

    @property
    def seq(self) -> int | None:
        """The cell's place in its session, from 1; None for a cell that was looked up by its id."""
        return self._seq

    async def outcome(self, timeout: float | timedelta | None = None) -> Outcome:
        """Wait until the cell has ended, and return its outcome. Raises NotFound, WaitTimeout."""
        session, cell = self._located()
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        try:
            async with asyncio.timeout(seconds):
                return await session.outcome_of(cell)
        except TimeoutError as exc:
            raise WaitTimeout(f"the end of cell {self.id!r} of session {self.session_id!r}", seconds or 0) from exc

    async def outcome_now(self) -> Outcome | None:
        """Return the outcome if the cell has ended, otherwise None. Raises NotFound."""
        session, cell = self._located()
        return await session.outcome_of(cell) if cell.ended.is_set() else None

    async def deferred_until(self) -> datetime | None:
        """Return None: there are no deferred cells in memory. Raises NotFound."""
        self._located()
        return None

    async def events(self, after: str = "0-0") -> AsyncIterator[Event]:
        """Yield the cell's events after the id `after`, stored and live. Raises InvalidArgument, NotFound."""
        seen = check_event_id("after", after)
        session, cell = self._located()
        if cell.ended.is_set() and not any(event.cell_id == self.id for event in session.events[seen:]):
            return
        async for event in session.followed(seen, is_live=True):
            if event.cell_id == self.id:
                yield event
                if isinstance(event, CellFinished):
                    return

    async def interrupt(self) -> bool:
        """End the cell, now or as soon as it starts; False if it has ended. Raises NotFound."""
        session, cell = self._located()
        return session.interrupt(cell)

    async def cancel(self) -> bool:
        """Cancel the cell if it has not started; False if it has ended. Raises NotFound."""
        session, cell = self._located()
        return session.cancel(cell)

    def _located(self) -> tuple[SessionRecord, CellRecord]:
        session = self._find()
        cell = None if session is None else session.cells.get(self.id)
        if session is None or cell is None:
            raise NotFound("cell", self.id)
        return session, cell
