"""A cell that is ready to run, and how a cell has ended."""

from typing import Final, NamedTuple

from skep_shared.protocol.frames import Execute, Failure, Frame
from skep_shared.states import CellStatus
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.compilation.blocking_calls import ExecutionMode
from skep_workers.session.compilation.compiling import CompiledCell
from skep_workers.session.compilation.routing import Route
from skep_workers.session.errors.tracebacks import describe_exception
from skep_workers.session.magics.capture import Capture

NO_ROUTE: Final = Route(ExecutionMode.UNKNOWN)


class Prepared(NamedTuple):
    """A cell that is ready to run, or one that can't run: with its `ending`, or the `error` of its compilation.

    started_ns: by the performance counter; 0 if it does not start.
    """

    cell: Execute
    writer: Writer
    started_ns: int
    compiled: CompiledCell | None = None
    route: Route = NO_ROUTE
    is_timed: bool = False
    capture: Capture | None = None
    ending: "Ending | None" = None
    error: BaseException | None = None

    @property
    def runs_outside(self) -> bool:
        """Return whether the cell needs the main thread without a running loop, as all cells do that don't await."""
        return self.compiled is not None and not self.compiled.awaits


class Ending(NamedTuple):
    """How a cell has ended: its status, and the frame with its value or error.

    cut: which parts of the error are cut. limit: the limit of the session that the cell ran into.
    """

    status: CellStatus
    frame: Frame | None = None
    cut: str = ""
    limit: str = ""


def failed_ending(cell: Execute, exc: BaseException, status: CellStatus) -> Ending:
    """Return the end of a cell that has failed with this exception."""
    name, text, trace, cut = describe_exception(exc)
    return Ending(status, Failure(cell.seq, cell.attempt, name, text, trace), cut)
