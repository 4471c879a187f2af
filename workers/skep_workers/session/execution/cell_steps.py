"""The steps before and after a cell's code that are part of the cell: user code may run in them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from skep_shared.protocol.frames import Frame, Notice
from skep_workers.session.compilation.compiling import CompiledCell
from skep_workers.session.display.last_value import LastValue
from skep_workers.session.display.publisher import DisplayPublisher, OutputAtEnd
from skep_workers.session.execution.prepared import Prepared
from skep_workers.session.magics.calls import MagicCalls
from skep_workers.session.magics.capture import Capturing
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.replaced_streams import ReplacedStreams
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.safeguards.shield import Shield


class CellSteps:
    """Timing, captured output, output at the end, and the last value of the cells of one session."""

    def __init__(
        self,
        link: CellLink,
        namespace: NamespaceManager,
        publisher: DisplayPublisher,
        streams: ReplacedStreams,
        shield: Shield,
        drain: Callable[[], None],
    ) -> None:
        """`drain` reads what was written to the pipes of descriptors 1 and 2."""
        self._link = link
        self._publisher = publisher
        self._streams = streams
        self._last_value = LastValue(link, publisher, namespace)
        self._capturing = Capturing(link, shield, drain, namespace.names)
        self.magics = MagicCalls(namespace, publisher)
        self._packages: SessionPackages | None = None

    def install(self) -> None:
        """Install the built-in names of magics, and `sys.displayhook`."""
        self.magics.install()
        self._last_value.install()

    def install_with(self, packages: SessionPackages) -> None:
        """Install packages for magics, and those of the session's options before its first cell."""
        self._packages = packages
        self.magics.install_with(packages)

    def around(self, prepared: Prepared) -> AbstractContextManager[None]:
        """Return the context manager in which the cell's code runs."""
        around: AbstractContextManager[None] = OutputAtEnd(self._publisher, self._streams)
        if prepared.capture is not None:
            around = self._capturing.around(prepared.capture, prepared.writer, around)
        if self._packages is not None and self._packages.is_pending:
            around = self._packages.installing_first(around)
        return self.magics.reloading(around) if self.magics.is_reloading else around

    def show_value(self, prepared: Prepared, compiled: CompiledCell, value: object) -> Frame | None:
        """Stop the timer, and return the frame of the last expression's value, if it is shown."""
        frame = None
        cell = prepared.cell
        if prepared.is_timed:
            self.magics.stop_timer()
        if compiled.shows_value:
            frame = self._last_value.show(cell, value)
        for change in compiled.rewrites:
            self._link.queue_frame(Notice(cell.seq, cell.attempt, "rewritten", change))
        return frame
