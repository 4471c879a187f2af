"""`skep run` and `skep exec`: cells in, live output out, an exit status by how they ended."""

import asyncio
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from skep.cell import Cell
from skep.cli.answers import StdinLines
from skep.cli.ctrl_c import CtrlC
from skep.cli.event_printers import LivePrinter, Printer, duration, print_event_json
from skep.cli.exits import ExitCode
from skep.cli.flags import Place
from skep.cli.places import flags_for, named_cluster, note_missing_worker, own_cluster
from skep.cli.screen import Screen
from skep.cli.script_place import place_script
from skep.cli.source_files import STDIN, SourceCell, read_cells
from skep.cluster import Cluster
from skep.embedded import EmbeddedCluster
from skep.session import Session
from skep_shared.errors import InvalidArgument
from skep_shared.events import CellFinished, CellRetried, ErrorEvent, Event, InputAnswered, InputRequested
from skep_shared.limits import check_session_id
from skep_shared.states import CellStatus


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and how to run; a place without a Redis URL is an embedded cluster for files, else the default one."""

    place: Place
    session_id: str | None
    keep_going: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class CellEnd:
    """How a cell ended, in the words of its events."""

    status: CellStatus
    reason: str
    has_left: bool = False  # by sys.exit() or sys.exit(0): the file ends here, and as it wants to

    @property
    def is_ok(self) -> bool:
        """Tell whether nothing went wrong."""
        return self.has_left or self.status is CellStatus.FINISHED

    @property
    def word(self) -> str:
        """Give the status as a word for a sentence, with the exception if there was one."""
        word = self.status.replace("_", " ")
        return f"{word}: {self.reason}" if self.reason else word


async def run_file(name: str, options: RunOptions) -> int:
    """Run the cells of a file one after the other; gives the exit status."""
    if options.place.prefix is not None and options.place.redis_url is None:
        raise InvalidArgument("--prefix", options.place.prefix, "it names a cluster's keys, so --redis is needed too")
    session_id = check_session_id(options.session_id or _new_session_id(name))
    cells = read_cells(name)
    screen = Screen()
    if not cells:
        screen.note(f"skep: {name} has no code to run")
        return ExitCode.OK
    ctrl_c = CtrlC(screen)
    with ctrl_c.watched():
        async with _cluster(options, screen) as cluster:
            session = cluster.session(session_id)
            if isinstance(cluster, EmbeddedCluster):
                await place_script(session, name)
            run = _Run(session, screen, ctrl_c, as_json=options.as_json)
            status = await _run_cells(cells, run, keep_going=options.keep_going)
            if not isinstance(cluster, EmbeddedCluster):
                _tell_session(cluster, session_id, screen)
    return ExitCode.INTERRUPTED if ctrl_c.was_pressed else status


async def execute_code(code: str, options: RunOptions) -> int:
    """Run one cell in a session of a cluster; gives the exit status."""
    session_id = check_session_id(options.session_id)
    if code == STDIN:
        code = sys.stdin.read()
    screen = Screen()
    ctrl_c = CtrlC(screen)
    with ctrl_c.watched():
        async with named_cluster(options.place) as cluster:
            run = _Run(cluster.session(session_id), screen, ctrl_c, as_json=options.as_json)
            await note_missing_worker(cluster, screen)
            end = await run.follow(code, "running")
    if end.status not in {CellStatus.FINISHED, CellStatus.FAILED}:
        screen.note(f"skep: the cell {end.word}", "red")
    if ctrl_c.was_pressed:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if end.is_ok else ExitCode.CELL_FAILED


class _Run:
    """Cells of one session, each followed to its end."""

    def __init__(self, session: Session, screen: Screen, ctrl_c: CtrlC, *, as_json: bool) -> None:
        self._session = session
        self.screen = screen
        self.ctrl_c = ctrl_c
        self._stdin = StdinLines()
        self._as_json = as_json
        self._printer: Printer = print_event_json if as_json else LivePrinter(screen)

    async def follow(self, code: str, label: str) -> CellEnd:
        """Submit a cell and print what it puts out until it has ended."""
        self.screen.busy(label)
        try:
            cell = await self._session.submit(code)
            self.ctrl_c.begin(cell)
            return await self._print_events(cell)
        finally:
            self.screen.idle()
            self.screen.end_line()

    async def _print_events(self, cell: Cell) -> CellEnd:
        fault: ErrorEvent | None = None
        answering: asyncio.Task[None] | None = None
        try:
            async for event in cell.events():
                self.ctrl_c.cell_has_started = True
                if self._as_json or not _is_plain_exit(event):
                    self._printer(event)
                match event:
                    case CellRetried():
                        fault = None
                    case InputAnswered() if answering is not None:
                        answering.cancel()  # done, or somebody else was faster
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


@asynccontextmanager
async def _cluster(options: RunOptions, screen: Screen) -> AsyncIterator[Cluster]:
    if options.place.redis_url is None:
        async with own_cluster(screen) as embedded:
            yield embedded
    else:
        async with named_cluster(options.place) as cluster:
            await note_missing_worker(cluster, screen)
            yield cluster


async def _run_cells(cells: list[SourceCell], run: _Run, *, keep_going: bool) -> int:
    screen, total, started_at = run.screen, len(cells), time.monotonic()
    failed: list[tuple[int, CellEnd]] = []
    number = 0
    for number, cell in enumerate(cells, start=1):
        if screen.is_live and total > 1:
            screen.print(_heading(number, total, cell.title), error=True)
        end = await run.follow(cell.code, f"[{number}/{total}] running" if total > 1 else "running")
        if not end.is_ok:
            failed.append((number, end))
            if not keep_going:
                break
        if end.has_left:
            break
        if run.ctrl_c.was_pressed:
            break
    _summarize(screen, total, total - number, failed, (time.monotonic() - started_at) * 1000)
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def _end_of(status: CellStatus, fault: ErrorEvent | None) -> CellEnd:
    if fault is None or status is CellStatus.FINISHED:
        return CellEnd(status, "")
    reason = f"{fault.ename}: {fault.evalue}" if fault.evalue else fault.ename
    return CellEnd(status, reason, has_left=status is CellStatus.FAILED and _is_plain_exit(fault))


def _is_plain_exit(event: Event) -> bool:
    """Tell whether this is a sys.exit() after which Python's own exit status is 0; its argument is known as text."""
    return isinstance(event, ErrorEvent) and event.ename == "SystemExit" and event.evalue in {"", "None", "0", "False"}


def _heading(number: int, total: int, title: str) -> Text:
    heading = Text(f"[{number}/{total}] ", "bold cyan", no_wrap=True, overflow="ellipsis")
    return heading.append(title, "dim")


def _summarize(screen: Screen, total: int, left: int, failed: list[tuple[int, CellEnd]], took_ms: float) -> None:
    """Say how it went: always to somebody who watches, else only if it went wrong."""
    rest = f"; {left} not run" if left else ""
    if not failed:
        if screen.is_live and not left:
            cells = "1 cell" if total == 1 else f"{total} cells"
            screen.note(f"✓ {cells} in {duration(took_ms)}", "green")
        return
    mark = "✗" if screen.is_live else "skep:"
    number, end = failed[0]
    if len(failed) == 1:
        text = f"cell {number} of {total} {end.word}" if total > 1 else f"the cell {end.word}"
    else:
        text = f"{len(failed)} of {total} cells failed: {', '.join(str(number) for number, _ in failed)}"
    screen.note(f"{mark} {' '.join(text.split())}{rest}", "red")


def _tell_session(cluster: Cluster, session_id: str, screen: Screen) -> None:
    """Say where the session lives on."""
    screen.note(f"session {session_id} lives on; its record: skep replay {session_id}{flags_for(cluster.settings)}")


def _new_session_id(name: str) -> str:
    stem = "stdin" if name == STDIN else Path(name).stem
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:60].strip("-.") or "file"
    return f"run-{safe}-{secrets.token_hex(3)}"
