"""The outputs of one cell in the format of notebooks, folded from its events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from skep.export.mime_bundles import bundle_bytes, notebook_bundle, text_bytes
from skep.export.output_room import OutputRoom
from skep_shared.events import (
    CellRetried,
    DisplayEvent,
    ErrorEvent,
    Event,
    InputRequested,
    OutputCleared,
    OutputEvent,
    ResultEvent,
    event_number,
)

MAX_TRACEBACK_CHARS: Final = 64 * 1024


@dataclass(slots=True)
class _Display:
    """A display that can be updated. number: of its event. size: of its bundle, in bytes."""

    display_id: str
    number: int
    output: dict[str, Any]
    size: int


class CellOutputs:
    """The output of one cell, as Jupyter would save it: streams in order, displays as they are in the end.

    left_out_bytes: of output that had no room; the outputs are then not complete. Tracebacks always have room.
    """

    def __init__(self, count: int, shown: Callable[[str], str] = str, room: OutputRoom | None = None) -> None:
        """`count` is the number in the brackets next to the cell; `shown` adapts texts, see FileLines.

        room: for all outputs; without one, everything is retained.
        """
        self.count = count
        self._shown = shown
        self._room = room
        self.outputs: list[dict[str, Any]] = []
        self.left_out_bytes = 0
        self._displays: list[_Display] = []
        self._used = 0
        self._is_to_clear = self._is_cut = False

    @property
    def display_ids(self) -> set[str]:
        """The display ids of the cell's displays."""
        return {display.display_id for display in self._displays}

    def add(self, event: Event) -> None:
        """Add the cell's next event."""
        match event:
            case CellRetried():
                self._clear()
            case OutputCleared():
                self._is_to_clear = event.waits
                if not event.waits:
                    self._clear()
            case OutputEvent():
                self._write(event.stream, self._shown(event.text))
            case InputRequested():
                self._write("stdout", event.prompt)
            case DisplayEvent():
                self._display(event)
            case ResultEvent():
                self._show("execute_result", notebook_bundle(event.bundle), execution_count=self.count)
            case ErrorEvent():
                trace = _cut(self._shown(event.traceback)).rstrip("\n").split("\n")
                evalue = _cut(event.evalue)
                self._clear_if_due()
                self.outputs.append({
                    "output_type": "error", "ename": event.ename, "evalue": evalue, "traceback": trace,
                })  # fmt: skip
            case _:
                pass

    def update(self, event: DisplayEvent) -> None:
        """Replace the displays that were shown earlier under this id; the update may come from another cell."""
        found = [
            display
            for display in self._displays
            if display.display_id == event.display_id and display.number < event_number(event.id)
        ]
        if not found:
            return
        bundle = notebook_bundle(event.bundle)
        size = bundle_bytes(bundle)
        for display in found:
            if self._take(size - display.size):
                display.output["data"], display.size = bundle, size
            else:
                self.left_out_bytes += size

    def _write(self, stream: str, text: str) -> None:
        self._clear_if_due()
        size = text_bytes(text)
        if self._is_cut or not self._take(size):
            left = 0 if self._is_cut or self._room is None else self._room.left(self._used)
            text = text.encode("utf-8", "replace")[:left].decode("utf-8", "ignore")
            self.left_out_bytes += size - text_bytes(text)
            self._is_cut = True  # a later, shorter text would look like the continuation
            if not text or not self._take(text_bytes(text)):
                return
        last = self.outputs[-1] if self.outputs else {}
        if (last.get("output_type"), last.get("name")) == ("stream", stream):
            last["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": stream, "text": text})

    def _display(self, event: DisplayEvent) -> None:
        if event.updates and event.display_id is not None:
            self.update(event)
            return
        bundle = notebook_bundle(event.bundle)
        output = self._show("display_data", bundle)
        if output is not None and event.display_id is not None:
            self._displays.append(_Display(event.display_id, event_number(event.id), output, bundle_bytes(bundle)))

    def _show(self, kind: str, bundle: dict[str, Any], **fields: Any) -> dict[str, Any] | None:
        """Append an output with a bundle; None if there is no room for it."""
        self._clear_if_due()
        size = bundle_bytes(bundle)
        if not self._take(size):
            self.left_out_bytes += size
            return None
        output = {"output_type": kind, "data": bundle, "metadata": {}, **fields}
        self.outputs.append(output)
        return output

    def _take(self, size: int) -> bool:
        """Use bytes of the room; False if there are not so many."""
        if self._room is not None:
            if size > self._room.left(self._used):
                return False
            self._room.take(size)
        self._used += size
        return True

    def _clear_if_due(self) -> None:
        if self._is_to_clear:
            self._clear()

    def _clear(self) -> None:
        if self._room is not None:
            self._room.take(-self._used)
        self.outputs, self._displays, self._is_to_clear, self._is_cut = [], [], False, False
        self._used = self.left_out_bytes = 0


def _cut(text: str) -> str:
    """Return a text whose middle is left out if it is longer than MAX_TRACEBACK_CHARS."""
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    half = MAX_TRACEBACK_CHARS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out here]\n{text[-half:]}"
