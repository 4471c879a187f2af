"""What the engine makes of a cell before it runs, and after."""

from typing import Final, NamedTuple

from skep_shared.frames import Execute, Failure, Frame
from skep_shared.states import CellStatus
from skep_workers.session.capturing import Capture
from skep_workers.session.compiling import CompiledCell
from skep_workers.session.detection import ExecutionMode
from skep_workers.session.routing import Route
from skep_workers.session.tracebacks import describe_exception
from skep_workers.session.writer import Writer

NO_ROUTE: Final = Route(ExecutionMode.UNKNOWN)


class Prepared(NamedTuple):
    """A cell ready to run, or (`ending`) one that has ended before it could."""

    cell: Execute
    writer: Writer
    started_ns: int
    compiled: CompiledCell | None = None
    route: Route = NO_ROUTE
    is_timed: bool = False
    capture: Capture | None = None
    ending: "Ending | None" = None

    @property
    def runs_outside(self) -> bool:
        """Tell whether it needs the main thread without a running loop."""
        return self.route.mode is ExecutionMode.BLOCKING_SYNC


class Ending(NamedTuple):
    """How a cell ended: its status, the frame that says more, if there is one, and what of that is cut."""

    status: CellStatus
    frame: Frame | None = None
    cut: str = ""


def failed_ending(cell: Execute, exc: BaseException, status: CellStatus) -> Ending:
    """Give the end of a cell with its exception."""
    name, text, trace, cut = describe_exception(exc)
    return Ending(status, Failure(cell.seq, cell.attempt, name, text, trace), cut)
