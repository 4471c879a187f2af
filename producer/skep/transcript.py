"""Fold a session's events into one record per cell, in order."""

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from skep.outcome import CellFold
from skep_shared.events import CellQueued, CellRetried, DisplayEvent, Event, TrimmedEvent, event_number


class CellRecord(Protocol):
    """What a cell's events are folded into."""

    @property
    def display_ids(self) -> set[str]:
        """The display ids of the cell's displays."""

    def add(self, event: Event) -> None:
        """Add the cell's next event."""

    def update(self, event: DisplayEvent) -> None:
        """Replace the displays that were shown earlier under this id; the update may come from another cell."""


Record = TypeVar("Record", bound=CellRecord)


class CellsFold(Generic[Record]):
    """Collects a session's events, in order, into one record per cell.

    A display update is applied to the cell that showed the display, whichever cell the update comes from. Updates by a
    voided attempt are dropped.
    """

    def __init__(self, new_record: Callable[[str], Record]) -> None:
        """`new_record` makes the record of a cell from the cell's id."""
        self._new_record = new_record
        self._records: dict[str, Record] = {}
        # By the cell that made them, and by display id. Only the last one is needed: it replaces what others replaced.
        self._updates: dict[str, dict[str, DisplayEvent]] = {}
        self.is_trimmed = False

    def add(self, event: Event) -> None:
        """Add the next event."""
        if isinstance(event, TrimmedEvent):
            self._records.clear()
            self._updates.clear()
            self.is_trimmed = True
        cell_id = event.cell_id
        if cell_id is None:
            return
        if cell_id in self._records or not self.is_trimmed or isinstance(event, CellQueued):
            record = self._records.get(cell_id)
            if record is None:
                record = self._records[cell_id] = self._new_record(cell_id)
            record.add(event)
        if isinstance(event, CellRetried):
            self._updates.pop(cell_id, None)
        elif isinstance(event, DisplayEvent) and event.updates and event.display_id is not None:
            self._updates.setdefault(cell_id, {})[event.display_id] = event

    def cells(self) -> list[Record]:
        """Return the cells' records, in order. Cells of which retention has removed events are left out."""
        showing: dict[str, list[Record]] = {}
        for record in self._records.values():
            for display_id in record.display_ids:
                showing.setdefault(display_id, []).append(record)
        updates = [event for events in self._updates.values() for event in events.values()]
        for event in sorted(updates, key=lambda event: event_number(event.id)):
            for record in showing.get(event.display_id or "", ()):
                record.update(event)
        return list(self._records.values())


class SessionFold(CellsFold[CellFold]):
    """Collects a session's events into one CellFold per cell."""

    def __init__(self, session_id: str) -> None:
        self._session_id: Final = session_id
        super().__init__(lambda cell_id: CellFold(session_id, cell_id))
