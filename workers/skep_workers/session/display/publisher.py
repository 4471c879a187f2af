"""`display`, `update_display`, `clear_output` for user code, and matplotlib figures, without IPython.

They are built-ins of the session: there without an import, and free to be bound to something else by a cell.
"""

import contextlib
import sys
import uuid
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from skep_shared.frames import Cleared, Display, Notice
from skep_workers.session.display.rendering import Shown, figure_png, mime_bundle, raw_bundle
from skep_workers.session.display.representations import Wanted, shows_itself
from skep_workers.session.link import CellLink
from skep_workers.session.writer import NOBODY


class DisplayHandle:
    """What `display(…, display_id=True)` gives: a place that can be updated, also after the session has moved."""

    def __init__(self, display_id: str | None = None) -> None:
        self.display_id = display_id or uuid.uuid4().hex

    def display(self, value: object, **options: Any) -> None:
        """Show a value under this id once more."""
        the_publisher().display(value, display_id=self.display_id, **options)

    def update(self, value: object, **options: Any) -> None:
        """Replace what is shown under this id."""
        the_publisher().update_display(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"


class DisplayPublisher:
    """Puts displays among the output of the cell that calls."""

    def __init__(self, link: CellLink) -> None:
        self._link = link
        self._latest_warning: Notice | None = None

    def display(  # noqa: PLR0913 - IPython's own signature
        self,
        *values: object,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        transient: Mapping[str, Any] | None = None,
        display_id: str | bool | None = None,
        raw: bool = False,
        clear: bool = False,
        update: bool = False,
    ) -> DisplayHandle | None:
        """Show values in the richest way each has, of the MIME types to `include` but not to `exclude`.

        `raw` takes MIME bundles as they are; `clear` hides what was put out before. With `display_id` (an id, or True
        for a new one) the place can be updated later, through the handle given back. Raises TypeError for an update
        without an id. `metadata` isn't kept, which a warning says.
        """
        display_id = display_id or (transient or {}).get("display_id")
        place = uuid.uuid4().hex if display_id is True else (str(display_id) if display_id else None)
        if update and place is None:
            raise TypeError("an update needs the display_id of what it replaces")
        if metadata:
            self.warn("display", f"metadata of a display isn't kept: {', '.join(map(str, metadata))}")
        if clear:
            self.clear_output(wait=True)
        if not values and place is not None:
            values, raw = ({},), True
        wanted = Wanted(include, exclude)
        for value in values:
            if raw and isinstance(value, dict):
                self._put(raw_bundle(value), place, updates=update)
            elif not shows_itself(value, self.report) and (shown := mime_bundle(value, self.report, wanted)).bundle:
                self._put(shown, place, updates=update)
        return DisplayHandle(place) if place is not None else None

    def update_display(self, value: object, *, display_id: str, **options: Any) -> None:
        """Replace what is shown under an id; takes what `display` takes."""
        self.display(value, display_id=display_id, update=True, **options)

    def publish_display_data(
        self,
        data: dict[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_source: Any,
    ) -> None:
        """Show a MIME bundle, as IPython's function of this name does."""
        del metadata  # libraries put there what only one front end reads
        self.display(data, raw=True, transient=transient, update=update)

    def clear_output(self, wait: bool = False) -> None:
        """Hide what the cell has put out so far, now or when more comes."""
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.takes_clearing(writer):
            return
        self._link.put(Cleared(writer.seq, writer.attempt, bool(wait)))

    def warn(self, category: str, message: str) -> None:
        """Tell the cell's readers something that they should know; becomes a warning event.

        Said twice in a row it is told once: a loop would fill the events with it. Outside of cells nobody is told.
        """
        warning = Notice(*self._link.writer, category, message)
        if self._link.writer is not NOBODY and warning != self._latest_warning:
            self._latest_warning = warning
            self._link.put(warning)

    def report(self, problem: str) -> None:
        """Tell that a value could not be shown in one of its ways."""
        self.warn("representation", problem)

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

    def _put(self, shown: Shown, display_id: str | None, *, updates: bool) -> None:
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.takes_bundle(writer, shown.bundle):
            return
        self._link.put(Display(writer.seq, writer.attempt, shown.bundle, display_id, updates))
        for cut in shown.cut:
            self.warn("display.cut", f"a display is not whole: {cut}")


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
    """Make this the publisher that handles and matplotlib's `show` use."""
    global _publisher  # noqa: PLW0603 - the figures backend is a module that matplotlib imports by name
    _publisher = publisher


def the_publisher() -> DisplayPublisher:
    """Return the session's publisher. Raises RuntimeError in a process that is no session's."""
    if _publisher is None:
        raise RuntimeError("displays can be updated in a session's process only")
    return _publisher


def show_figures() -> None:
    """Show and close every open figure; what `plt.show()` calls."""
    if _publisher is not None:
        _publisher.show_figures()
