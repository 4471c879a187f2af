"""Run the cells of one session one after the other: print each while it runs, and return how it ended."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from skep.cell import Cell
from skep.cli.answers import StdinLines
from skep.cli.ctrl_c import CtrlC
from skep.cli.output.event_printers import LivePrinter, Printer, print_event_json
from skep.cli.output.failures import ExitCode
from skep.cli.output.screen import Screen
from skep.session import Session
from skep_shared.events import CellFinished, CellRetried, ErrorEvent, Event, InputAnswered, InputRequested
from skep_shared.states import CellStatus


@dataclass(frozen=True, slots=True)
class CellEnd:
    """How a cell ended, from its events.

    exit_status: the one that Python would have after the sys.exit() that ended the cell; None if it ended in another
    way. A file ends there, with this status.
    """

    status: CellStatus
    reason: str
    exit_status: int | None = None

    @property
    def is_ok(self) -> bool:
        """Return whether the cell finished, or ended itself by sys.exit()."""
        return self.exit_status is not None or self.status is CellStatus.FINISHED

    @property
    def code(self) -> int:
        """The exit status for the shell."""
        if self.exit_status is not None:
            return self.exit_status
        return ExitCode.OK if self.is_ok else ExitCode.CELL_FAILED

    @property
    def predicate(self) -> str:
        """What happened to the cell, for a sentence, with the exception if there was one."""
        words = self.status.replace("_", " ")
        if self.status in {CellStatus.INTERRUPTED, CellStatus.LOST, CellStatus.CANCELLED}:
            words = f"was {words}"
        return f"{words}: {self.reason}" if self.reason else words


class CellFollower:
    """Submits cells to one session, and follows each to its end."""

    def __init__(
        self,
        session: Session,
        screen: Screen,
        ctrl_c: CtrlC,
        *,
        as_json: bool,
        timeout: float | None = None,
        shown: Callable[[str], str] | None = None,
    ) -> None:
        """`timeout` is for each cell, in seconds; `shown` adapts tracebacks and warnings, see FileLines."""
        self._session = session
        self.screen = screen
        self.ctrl_c = ctrl_c
        self._timeout = timeout
        self._stdin = StdinLines()
        self._as_json = as_json
        self._printer: Printer = print_event_json if as_json else LivePrinter(screen, shown)

    async def follow(self, code: str, label: str, on_event: Callable[[Event], None] | None = None) -> CellEnd:
        """Submit a cell and print its events until it has ended; `on_event` gets each event before it is printed."""
        self.screen.busy(label)
        try:
            cell = await self.ctrl_c.submit(self._session.submit(code, timeout=self._timeout))
            return await self._print_events(cell, on_event)
        finally:
            self.screen.idle()
            self.screen.end_line()

    async def _print_events(self, cell: Cell, on_event: Callable[[Event], None] | None) -> CellEnd:
        fault: ErrorEvent | None = None
        answering: asyncio.Task[None] | None = None
        try:
            async for event in cell.events():
                self.ctrl_c.cell_has_started = True
                if on_event is not None:
                    on_event(event)
                if self._as_json or exit_status_of(event) is None:
                    self._printer(event)
                match event:
                    case CellRetried():
                        fault = None
                    case InputAnswered() if answering is not None:
                        answering.cancel()  # the cell is done, or another client has answered
                    case InputRequested():
                        answering = asyncio.create_task(self._answer(event), name="answer to input()")
                    case ErrorEvent():
                        fault = event
                    case CellFinished():
                        return _end_of(event.status, fault)
                    case _:
                        pass
        finally:
            if answering is not None:
                answering.cancel()
        raise AssertionError("a cell's events end with its cell.finished")

    async def _answer(self, request: InputRequested) -> None:
        self.screen.idle()
        line = await self._stdin.line(is_password=request.is_password)
        if sys.stdin.isatty() and not request.is_password:
            self.screen.typed(ended=True)
        await self._session.answer(line)


def _end_of(status: CellStatus, fault: ErrorEvent | None) -> CellEnd:
    if fault is None or status is CellStatus.FINISHED:
        return CellEnd(status, "")
    reason = f"{fault.ename}: {fault.evalue}" if fault.evalue else fault.ename
    return CellEnd(status, reason, exit_status_of(fault) if status is CellStatus.FAILED else None)


def exit_status_of(event: Event) -> int | None:
    """Return Python's exit status for a sys.exit() without argument or with a number; None for another error.

    Only the text of the argument is known: a text that is a number counts as a number.
    """
    if not isinstance(event, ErrorEvent) or event.ename != "SystemExit":
        return None
    if event.evalue in {"", "None", "False"}:
        return 0
    if event.evalue == "True":
        return 1
    try:
        return int(event.evalue) & 0xFF
    except ValueError:
        return None
