"""A session's record as a notebook (nbformat 4.5): a cell of code for each cell, with its outputs."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from skep.export.cell_outputs import CellOutputs
from skep.export.mime_bundles import text_bytes
from skep.export.output_room import OutputRoom
from skep.transcript import CellsFold
from skep_shared.events import (
    CellFinished,
    CellQueued,
    CellRetried,
    CellStarted,
    DisplayEvent,
    Event,
    OutputTruncated,
    ResetEvent,
    SessionRestored,
    SessionStarted,
    TrimmedEvent,
    WarningEvent,
)
from skep_shared.json_form import json_form

KERNEL: Final = {"display_name": "Python 3", "language": "python", "name": "python3"}
MAX_WARNINGS: Final = 100  # of a cell
RUNNING: Final = "running"
WAITING: Final = "waiting"
_TRIMMED: Final = "*Earlier cells of this session are not here: retention has removed their events.*"


class NotebookCell:
    """One cell of a session as a cell of a notebook, folded from its events."""

    def __init__(self, cell_id: str, room: OutputRoom) -> None:
        self.outputs: Final = CellOutputs(0, room=room)
        self._cell_id = cell_id
        self._room = room
        self._seq = 0
        self._attempt = 1
        self._code = ""
        self._labels: dict[str, str] = {}
        self._has_started = False
        self._end: CellFinished | None = None
        self._warnings: list[str] = []
        self._output_limit: int | None = None

    @property
    def display_ids(self) -> set[str]:
        """The display ids of the cell's displays."""
        return self.outputs.display_ids

    def update(self, event: DisplayEvent) -> None:
        """Replace the displays that were shown earlier under this id; the update may come from another cell."""
        self.outputs.update(event)

    def add(self, event: Event) -> None:
        """Add the cell's next event."""
        self._seq = self.outputs.count = event.seq or self._seq
        self._attempt = event.attempt or self._attempt
        self.outputs.add(event)
        match event:
            case CellQueued():
                self._code, self._labels = self._fitting(event.code), event.labels
            case CellStarted():
                self._has_started = True
            case CellRetried():
                self._warnings, self._output_limit = [], None
            case OutputTruncated():
                self._output_limit = event.limit_bytes
            case WarningEvent() if len(self._warnings) < MAX_WARNINGS:
                self._warnings.append(event.message)
            case CellFinished():
                self._end = event
                if event.unsaved:
                    self._warnings.append(f"no checkpoint could be made: {event.unsaved}")
            case _:
                pass

    def _fitting(self, code: str) -> str:
        size = text_bytes(code)
        if size > self._room.left(0):
            return f"# skep: {size} bytes of code are not in this export"
        self._room.take(size)
        return code

    def document(self) -> dict[str, Any]:
        """Return the notebook's cell."""
        return {
            "cell_type": "code",
            "id": f"cell-{self._seq}",
            "metadata": {"skep": self._facts()},
            "source": self._code,
            "execution_count": self._seq if self._has_started else None,
            "outputs": [*self.outputs.outputs, *self._notes()],
        }

    def _facts(self) -> dict[str, Any]:
        end = self._end
        status = str(end.status) if end is not None else RUNNING if self._has_started else WAITING
        facts: dict[str, Any] = {
            "seq": self._seq,
            "cell_id": self._cell_id,
            "attempt": self._attempt,
            "status": status,
            "checkpoint": end.checkpoint if end is not None else None,
        }
        if end is not None:
            facts["run_ms"] = end.run_ms
        if self._labels:
            facts["labels"] = dict(self._labels)
        if self._warnings:
            facts["warnings"] = list(self._warnings)
        return facts

    def _notes(self) -> list[dict[str, Any]]:
        """Return outputs that report what is missing among the others."""
        notes = []
        if self._output_limit is not None:
            notes.append(f"skep: output was cut at {self._output_limit} bytes\n")
        if self.outputs.left_out_bytes:
            notes.append(f"skep: {self.outputs.left_out_bytes} bytes of output are not in this export\n")
        return [{"output_type": "stream", "name": "stderr", "text": note} for note in notes]


class SessionNotebook:
    """Collects a session's events, in order, into a notebook."""

    def __init__(self, session_id: str, *, max_cell_bytes: int, max_bytes: int) -> None:
        """`max_bytes` of code and outputs are retained, of the outputs of each cell at most `max_cell_bytes`."""
        self._session_id = session_id
        self._new_room = partial(OutputRoom, max_cell_bytes, max_bytes)
        self._room = self._new_room()
        self._cells = CellsFold(lambda cell_id: NotebookCell(cell_id, self._room))
        self._python = ""
        self.last_event = "0-0"

    def add(self, event: Event) -> None:
        """Add the next event."""
        self.last_event = event.id
        if isinstance(event, TrimmedEvent):  # the cells so far are left out
            self._room = self._new_room()
        if isinstance(event, SessionStarted | SessionRestored):
            self._python = event.python
        self._cells.add(event)

    def document(self) -> dict[str, Any]:
        """Return the notebook, as JSON has it."""
        cells = [cell.document() for cell in self._cells.cells()]
        if self._cells.is_trimmed:
            cells.insert(0, {"cell_type": "markdown", "id": "earlier-cells", "metadata": {}, "source": _TRIMMED})
        language = {"name": "python"} | ({"version": self._python} if self._python else {})
        facts = {"session_id": self._session_id, "last_event": self.last_event}
        metadata = {"kernelspec": dict(KERNEL), "language_info": language, "skep": facts}
        document: dict[str, Any] = json_form({
            "cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5,
        })  # fmt: skip
        return document


async def fold_notebook(
    session_id: str, events: AsyncIterator[Event], *, max_cell_bytes: int, max_bytes: int
) -> dict[str, Any] | None:
    """Return the notebook of a session's events; None if Redis went back meanwhile, so that they are void.

    Raises what the reading of the events raises.
    """
    notebook = SessionNotebook(session_id, max_cell_bytes=max_cell_bytes, max_bytes=max_bytes)
    async for event in events:
        if isinstance(event, ResetEvent):
            return None
        notebook.add(event)
    return await asyncio.to_thread(notebook.document)
