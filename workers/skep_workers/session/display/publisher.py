"""`display`, `update_display`, `clear_output` for user code, and matplotlib figures, without IPython.

They are built-ins of the session: there without an import, and free to be bound to something else by a cell.
"""

import contextlib
import sys
import uuid
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from skep_shared.frames import Cleared, Display
from skep_workers.session.display.rendering import figure_png, mime_bundle, raw_bundle
from skep_workers.session.link import CellLink


class DisplayHandle:
    """What `display(…, display_id=True)` gives: a place that can be updated."""

    def __init__(self, publisher: "DisplayPublisher", display_id: str) -> None:
        self._publisher = publisher
        self.display_id = display_id

    def display(self, value: object, **options: Any) -> None:
        """Show a value under this id once more."""
        self._publisher.display(value, display_id=self.display_id, **options)

    def update(self, value: object, **options: Any) -> None:
        """Replace what is shown under this id."""
        self._publisher.update_display(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"


class DisplayPublisher:
    """Puts displays among the output of the cell that calls."""

    def __init__(self, link: CellLink) -> None:
        self._link = link

    def display(
        self,
        *values: object,
        raw: bool = False,
        display_id: str | bool | None = None,
        update: bool = False,
        **_ignored: Any,
    ) -> DisplayHandle | None:
        """Show values in the richest way each has; `raw` takes MIME bundles as they are.

        With `display_id` (an id, or True for a new one) the place can be updated later, through the handle given back.
        """
        place = uuid.uuid4().hex if display_id is True else (str(display_id) if display_id else None)
        for value in values:
            bundle = raw_bundle(value) if raw and isinstance(value, dict) else mime_bundle(value)
            self._put(bundle, place, updates=update)
        return DisplayHandle(self, place) if place is not None else None

    def update_display(self, value: object, *, display_id: str, raw: bool = False, **_ignored: Any) -> None:
        """Replace what is shown under an id."""
        self.display(value, raw=raw, display_id=display_id, update=True)

    def clear_output(self, wait: bool = False) -> None:
        """Hide what the cell has put out so far, now or when more comes."""
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.takes_clearing(writer):
            return
        self._link.put(Cleared(writer.seq, writer.attempt, bool(wait)))

    def show_figures(self) -> None:
        """Show and close every open pyplot figure."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                figure = pyplot.figure(number)
                bundle = {"image/png": figure_png(figure), "text/plain": repr(figure)}
                self._put(raw_bundle(bundle), None, updates=False)
        finally:
            pyplot.close("all")  # one that can't be drawn fails this cell, not the later ones

    def _put(self, bundle: dict[str, Any], display_id: str | None, *, updates: bool) -> None:
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.takes_bundle(writer, bundle):
            return
        self._link.put(Display(writer.seq, writer.attempt, bundle, display_id, updates))


class FiguresAtEnd(AbstractContextManager[None]):
    """Shows the figures that are open when a cell's code ends, also when it fails; a context manager."""

    def __init__(self, publisher: DisplayPublisher) -> None:
        self._publisher = publisher

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._publisher.show_figures()
        elif issubclass(kind, Exception):  # one that was interrupted has no time for drawing
            with contextlib.suppress(Exception):  # what the cell itself raised is what counts
                self._publisher.show_figures()


_publisher: DisplayPublisher | None = None


def install_publisher(publisher: DisplayPublisher) -> None:
    """Make this the publisher that matplotlib's `show` uses."""
    global _publisher  # noqa: PLW0603 - the figures backend is a module that matplotlib imports by name
    _publisher = publisher


def show_figures() -> None:
    """Show and close every open figure; what `plt.show()` calls."""
    if _publisher is not None:
        _publisher.show_figures()
