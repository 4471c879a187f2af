"""The value of a cell's last expression, and `sys.displayhook`, which shows it and which a cell may replace."""

import builtins
import sys
from threading import get_ident  # bound early: user code may patch threading
from typing import Any, Final

from skep_shared.protocol.frames import Execute, Frame, Notice, Result
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.display.rendering import mime_bundle, value_as_data
from skep_workers.session.display.representations import shows_itself
from skep_workers.session.output.link import CellLink
from skep_workers.session.runtime.namespace import NamespaceManager

HOOK: Final = "__skep_displayhook__"  # a built-in name; checkpoints use it to restore variables that hold the hook
_built_in: Final[dict[str, Any]] = vars(builtins)
_of_sys: Final[dict[str, Any]] = vars(sys)
_plain: Final = sys.__displayhook__  # `sys.displayhook = sys.__displayhook__` means the session's own hook


class LastValue:
    """Shows the last values of cells."""

    def __init__(self, link: CellLink, publisher: DisplayPublisher, namespace: NamespaceManager) -> None:
        self._link = link
        self._publisher = publisher
        self._namespace = namespace
        self._main_thread: Final = get_ident()
        self._own: Any = sys.displayhook
        self._cell: Execute | None = None  # the cell whose last value is passed to a user's hook right now
        self._frame: Frame | None = None

    def install(self) -> None:
        """Set `sys.displayhook`, unless a cell has replaced it."""
        if sys.displayhook is _plain:
            sys.displayhook = self._own = self.displayhook
            setattr(builtins, HOOK, self._own)

    def show(self, cell: Execute, value: object) -> Frame | None:
        """Show a cell's last value, using the hook that a cell has set, if any. Return the frame to send.

        Raises whatever the hook raises.
        """
        hook = _of_sys.get("displayhook")
        if hook is self._own or hook is _plain or not callable(hook):
            return self._result(cell, value) if value is not None else None
        had_latest = "_" in _built_in
        self._cell, self._frame = cell, None
        try:
            hook(value)
        finally:
            self._cell = None
            if not had_latest and "_" in _built_in:  # set by sys.__displayhook__, which the hook has called
                self._namespace.push_result(_built_in.pop("_"))
        frame, self._frame = self._frame, None
        return frame

    def displayhook(self, value: object, /) -> None:
        """Show a value; it becomes the cell's result if a user's hook passes on the cell's last value."""
        if value is None:
            return
        if self._cell is not None and self._frame is None and get_ident() == self._main_thread:
            self._frame = self._result(self._cell, value)
        else:
            self._publisher.display(value)
            self._namespace.push_result(value)

    def _result(self, cell: Execute, value: object) -> Frame | None:
        frame = None
        if not shows_itself(value, self._publisher.report):
            shown, diversion = mime_bundle(value, self._publisher.report), self._link.diversion
            if diversion is None or not diversion.capture_bundle(Writer(cell.seq, cell.attempt), shown.bundle):
                data, remark = value_as_data(value)
                if remark or shown.cut:
                    self._report_limits(cell, remark, shown.cut)
                frame = Result(cell.seq, cell.attempt, shown.bundle, data)
        self._namespace.push_result(value)
        return frame

    def _report_limits(self, cell: Execute, remark: str, cut: tuple[str, ...]) -> None:
        if remark:
            self._link.queue_frame(Notice(cell.seq, cell.attempt, "value.changed", remark))
        for each in cut:
            self._link.queue_frame(Notice(cell.seq, cell.attempt, "result.cut", f"the result is not whole: {each}"))
