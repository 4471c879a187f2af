"""A handle on a session of a MemoryCluster."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol, Unpack, cast

from skep.cell_request import CellOptions, CellRequest, read_requests
from skep.link import ShardLink
from skep.reader import check_event_id
from skep.replies import ReplyReader
from skep.session import CLOSE_SECONDS, Session
from skep.session_update import checked_changes
from skep.testing.memory_cell import MemoryCell
from skep.testing.memory_files import MemoryFiles
from skep.testing.memory_record import SessionRecord
from skep.testing.refusals import NoLink, NotInMemory, refuses_the_rest_of
from skep_shared.errors import NotFound, WaitTimeout
from skep_shared.events import Event
from skep_shared.limits import check_cell_id
from skep_shared.models import SessionInfo, SessionOptions


class SessionStore(Protocol):
    """Where sessions find their records."""

    def find(self, session_id: str) -> SessionRecord | None:
        """Return a session's record, if it exists. Raises ClientUnusable."""

    def create(self, session_id: str, options: SessionOptions | None) -> SessionRecord:
        """Return a session's record, a new one with these options if there is none. Raises ClientUnusable."""

    def remove(self, session_id: str) -> None:
        """Remove a session's record."""


@refuses_the_rest_of(Session, inherited=frozenset({"html", "notebook", "run", "transcript"}))
class MemorySession(Session):
    """A session in memory, with the methods of a Session; those that it does not have raise NotInMemory."""

    def __init__(
        self, link: NoLink, store: SessionStore, session_id: str, options: SessionOptions | None = None
    ) -> None:
        nothing = cast("object", link)
        super().__init__(cast("ShardLink", nothing), cast("ReplyReader", nothing), session_id, options)
        self._nothing = link
        self._store = store
        self._options = options
        files = MemoryFiles(session_id, self._find, lambda: store.create(session_id, options))
        self.files = files  # type: ignore[misc]  # final for users of a session, not for its kinds

    def _find(self) -> SessionRecord | None:
        return self._store.find(self.id)

    def _existing(self) -> SessionRecord:
        record = self._find()
        if record is None:
            raise NotFound("session", self.id)
        return record

    def cell(self, cell_id: str) -> MemoryCell:
        """Return a handle on a cell of this session."""
        return MemoryCell(self._nothing, self.id, check_cell_id(cell_id), self._find)

    async def submit(
        self,
        code: str,
        *,
        defer_by: float | timedelta | None = None,
        defer_until: datetime | None = None,
        **options: Unpack[CellOptions],
    ) -> MemoryCell:
        """Append a cell. Raises InvalidArgument, SessionClosed, BacklogFull, and NotInMemory for a deferred cell."""
        if defer_by is not None or defer_until is not None:
            raise NotInMemory("Session.submit with defer_by or defer_until")
        return (await self.submit_many([CellRequest(code=code, **options)]))[0]

    async def submit_many(  # type: ignore[override]  # a list of a kind of Cell
        self, cells: Sequence[str | CellRequest], *, stop_on_error: bool = False
    ) -> list[MemoryCell]:
        """Append cells in this order, all or none. Raises what `submit` raises."""
        requests = read_requests(cells, stop_on_error=stop_on_error)
        record = self._store.create(self.id, self._options)
        limit = self._nothing.settings.max_pending_cells
        placed = record.append(requests, max_pending=limit, is_chain=stop_on_error)
        return [MemoryCell(self._nothing, self.id, cell.id, self._find, cell.seq) for cell in placed]

    def events(self, after: str = "0-0", *, follow: bool = False) -> AsyncIterator[Event]:
        """Yield the session's events after the id `after`; with `follow` also new ones. Raises InvalidArgument."""
        return self._events(check_event_id("after", after), follow=follow)

    async def _events(self, after: int, *, follow: bool) -> AsyncIterator[Event]:
        record = self._store.create(self.id, self._options) if follow else self._find()
        if record is not None:
            async for event in record.followed(after, is_live=follow):
                yield event

    async def interrupt(self, cell_id: str | None = None) -> bool:
        """End the running cell, or the cell of this id; False if there was none to end. Raises NotFound."""
        if cell_id is not None:
            return await self.cell(cell_id).interrupt()
        return self._existing().interrupt()

    async def info(self) -> SessionInfo:
        """Return the session's state. Raises NotFound."""
        return self._existing().info()

    async def update(self, options: SessionOptions) -> None:
        """Change the options that are given. Raises InvalidArgument, NotFound, SessionClosed."""
        changes = checked_changes(options)
        self._existing().change_options(changes)

    async def close(self, *, purge: bool = False, timeout: float = CLOSE_SECONDS) -> None:
        """End the session: interrupt its running cell and cancel its pending ones; `purge` also deletes its data.

        Raises NotFound, WaitTimeout.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._existing().close()
        except TimeoutError:
            raise WaitTimeout(f"the end of session {self.id!r}", timeout) from None
        if purge:
            self._store.remove(self.id)
