"""`display`, `update_display` and `clear_output` for user code, and matplotlib figures, without IPython.

The functions are built-ins of the session: they need no import, and a cell may bind their names to other values.
"""

import contextlib
import sys
import uuid
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from skep_shared.protocol.frames import Cleared, Display, Notice
from skep_workers.session.attribution.writer import NO_CELL
from skep_workers.session.display.rendering import Shown, figure_png, mime_bundle, raw_bundle
from skep_workers.session.display.representations import Wanted, shows_itself
from skep_workers.session.output.c_stdout import flush_c_stdout
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.replaced_streams import ReplacedStreams


class DisplayHandle:
    """The result of `display(…, display_id=True)`: a display that can be updated, also after the session has moved."""

    def __init__(self, display_id: str | None = None) -> None:
        self.display_id = display_id or uuid.uuid4().hex

    def display(self, value: object, **options: Any) -> None:
        """Show a value as another display with this id."""
        the_publisher().display(value, display_id=self.display_id, **options)

    def update(self, value: object, **options: Any) -> None:
        """Replace the displays with this id."""
        the_publisher().update_display(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<DisplayHandle display_id={self.display_id}>"


class DisplayPublisher:
    """Adds displays to the output of the calling cell."""

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
        """Show values in the richest way that each supports, limited to the MIME types in `include` but not `exclude`.

        With `raw`, values that are dicts are MIME bundles. `clear` hides the earlier output. With `display_id` (an id,
        or True for a new one) the display can be updated later through the returned handle. Raises TypeError for an
        update without an id. `metadata` is ignored with a warning.
        """
        display_id = display_id or (transient or {}).get("display_id")
        place = uuid.uuid4().hex if display_id is True else (str(display_id) if display_id else None)
        if update and place is None:
            raise TypeError("an update needs the display_id of what it replaces")
        if metadata:
            self.warn("display", f"metadata of a display is ignored: {', '.join(map(str, metadata))}")
        if clear:
            self.clear_output(wait=True)
        if not values and place is not None:
            values, raw = ({},), True
        wanted = Wanted(include, exclude)
        for value in values:
            if raw and isinstance(value, dict):
                self._send(raw_bundle(value), place, updates=update)
            elif not shows_itself(value, self.report) and (shown := mime_bundle(value, self.report, wanted)).bundle:
                self._send(shown, place, updates=update)
        return DisplayHandle(place) if place is not None else None

    def update_display(self, value: object, *, display_id: str, **options: Any) -> None:
        """Replace the displays with an id. The options are those of `display`."""
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
        del metadata  # which is meant for particular front ends
        self.display(data, raw=True, transient=transient, update=update)

    def clear_output(self, wait: bool = False) -> None:
        """Hide the output of the cell so far: now, or if `wait`, when its next output arrives."""
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.capture_clearing(writer):
            return
        self._link.queue_frame(Cleared(writer.seq, writer.attempt, bool(wait)))

    def warn(self, category: str, message: str) -> None:
        """Send a warning to the cell's readers; it becomes a warning event.

        The same warning twice in a row is sent once, because a loop would fill the event stream with it. Outside of
        cells nothing is sent.
        """
        warning = Notice(*self._link.writer, category, message)
        if self._link.writer is not NO_CELL and warning != self._latest_warning:
            self._latest_warning = warning
            self._link.queue_frame(warning)

    def report(self, problem: str) -> None:
        """Warn that one representation of a value could not be made."""
        self.warn("representation", problem)

    def show_figures(self, *, at_end: bool = False) -> None:
        """Show and close every open pyplot figure; at a cell's end, don't show empty figures."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                figure = pyplot.figure(number)
                picture = figure_png(figure)
                if picture is not None:
                    self._send(raw_bundle({"image/png": picture, "text/plain": repr(figure)}), None, updates=False)
                elif not at_end:
                    self._send(raw_bundle({"text/plain": repr(figure)}), None, updates=False)
        finally:
            pyplot.close("all")  # a figure that can't be drawn makes this cell fail, not the later ones

    def _send(self, shown: Shown, display_id: str | None, *, updates: bool) -> None:
        writer, diversion = self._link.writer, self._link.diversion
        if diversion is not None and diversion.capture_bundle(writer, shown.bundle):
            return
        self._link.queue_frame(Display(writer.seq, writer.attempt, shown.bundle, display_id, updates))
        for cut in shown.cut:
            self.warn("display.cut", f"a display is incomplete: {cut}")


class OutputAtEnd(AbstractContextManager[None]):
    """Sends the remaining output when a cell's code ends or fails: open figures, and buffered text of streams."""

    def __init__(self, publisher: DisplayPublisher, streams: ReplacedStreams) -> None:
        self._publisher = publisher
        self._streams = streams

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publisher.show_figures(at_end=True)
            elif issubclass(kind, Exception):  # an interrupted cell has no time to draw figures
                with contextlib.suppress(Exception):  # the error of the cell itself takes precedence
                    self._publisher.show_figures(at_end=True)
        finally:
            self._streams.flush(self._publisher.warn)
            flush_c_stdout()


_publisher: DisplayPublisher | None = None


def install_publisher(publisher: DisplayPublisher) -> None:
    """Set the publisher that display handles and matplotlib's `show` use."""
    global _publisher  # noqa: PLW0603 - the backend for figures is a module that matplotlib imports by name
    _publisher = publisher


def the_publisher() -> DisplayPublisher:
    """Return the session's publisher. Raises RuntimeError outside of a session process."""
    if _publisher is None:
        raise RuntimeError("displays can only be updated in a session process")
    return _publisher


def show_figures() -> None:
    """Show and close every open figure; `plt.show()` calls this."""
    if _publisher is not None:
        _publisher.show_figures()
