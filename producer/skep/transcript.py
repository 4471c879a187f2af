"""The fold of a session's events: one record per cell, in order."""

from typing import Final

from skep.outcome import CellFold
from skep_shared.events import CellQueued, CellRetried, DisplayEvent, Event, TrimmedEvent, event_number


class SessionFold:
    """Takes a session's events in order, and gives what came of each cell.

    An update of a display reaches the cell that showed it, whichever cell it comes from; one of an attempt that was
    voided does not.
    """

    def __init__(self, session_id: str) -> None:
        self._session_id: Final = session_id
        self._folds: dict[str, CellFold] = {}
        self._updates: dict[str, list[DisplayEvent]] = {}  # by the cell that they come from
        self._is_trimmed = False

    def take(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, TrimmedEvent):
            self._folds.clear()
            self._updates.clear()
            self._is_trimmed = True
        cell_id = event.cell_id
        if cell_id is None:
            return
        if cell_id in self._folds or not self._is_trimmed or isinstance(event, CellQueued):
            self._folds.setdefault(cell_id, CellFold(self._session_id, cell_id)).take(event)
        if isinstance(event, CellRetried):
            self._updates.pop(cell_id, None)
        elif isinstance(event, DisplayEvent) and event.updates:
            self._updates.setdefault(cell_id, []).append(event)

    def cells(self) -> list[CellFold]:
        """Give the cells' records, in order. Cells of which retention has removed events are left out."""
        showing: dict[str, list[CellFold]] = {}
        for fold in self._folds.values():
            for display_id in fold.display_ids:
                showing.setdefault(display_id, []).append(fold)
        updates = [event for events in self._updates.values() for event in events]
        for event in sorted(updates, key=lambda event: event_number(event.id)):
            for fold in showing.get(event.display_id or "", ()):
                fold.update(event)
        return list(self._folds.values())
