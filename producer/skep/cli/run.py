"""`skep run` and `skep exec`: cells in, live output out, an exit status by how they ended."""

import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from skep.cli.cell_runs import CellEnd, CellRuns
from skep.cli.ctrl_c import CtrlC
from skep.cli.event_printers import duration
from skep.cli.exits import ExitCode
from skep.cli.file_lines import FileLines
from skep.cli.flags import Place
from skep.cli.notebook_output import CellOutputs, check_output, write_notebook
from skep.cli.places import flags_for, named_cluster, note_missing_worker, own_cluster
from skep.cli.screen import Screen
from skep.cli.script_place import pass_arguments, place_script
from skep.cli.source_files import STDIN, SourceCell, SourceFile, read_file
from skep.cluster import Cluster
from skep.embedded import EmbeddedCluster
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event
from skep_shared.limits import MAX_TIMEOUT_SECONDS, check_number, check_session_id
from skep_shared.states import CellStatus


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and how to run; a place without a Redis URL is an embedded cluster for files, else the default one.

    raw: a terminal gets what cells write as it is. arguments: of the file. output: the notebook to write. timeout:
    seconds that the cell may run.
    """

    place: Place
    session_id: str | None
    keep_going: bool
    as_json: bool
    raw: bool = False
    arguments: tuple[str, ...] = ()
    output: str | None = None
    timeout: float | None = None


async def run_file(name: str, options: RunOptions) -> int:
    """Run the cells of a file one after the other; gives the exit status."""
    if options.place.prefix is not None and options.place.redis_url is None:
        raise InvalidArgument("--prefix", options.place.prefix, "it names a cluster's keys, so --redis is needed too")
    session_id = check_session_id(options.session_id or _new_session_id(name))
    file = read_file(name)
    path = check_output(options.output) if options.output is not None else None
    screen = Screen(raw=options.raw)
    outputs: dict[int, CellOutputs] = {}
    if not file.cells:
        screen.note(f"skep: {name} has no code to run")
        if path is not None:
            write_notebook(path, file, outputs)
        return ExitCode.OK
    ctrl_c = CtrlC(screen)
    with ctrl_c.watched():
        async with _cluster(options, screen) as cluster:
            session = cluster.session(session_id)
            if isinstance(cluster, EmbeddedCluster):
                await place_script(session, name, options.arguments)
            elif options.arguments:
                await pass_arguments(session, name, options.arguments)
            lines = FileLines(file)
            runs = CellRuns(session, screen, ctrl_c, as_json=options.as_json, shown=lines.shown)
            try:
                status = await _run_cells(file, runs, lines, outputs, keep_going=options.keep_going)
            finally:
                if path is not None:
                    write_notebook(path, file, outputs)
            if not isinstance(cluster, EmbeddedCluster):
                _tell_session(cluster, session_id, screen)
    return ExitCode.INTERRUPTED if ctrl_c.was_pressed else status


async def execute_code(code: str, options: RunOptions) -> int:
    """Run one cell in a session of a cluster; gives the exit status."""
    session_id = check_session_id(options.session_id)
    if options.timeout is not None:
        check_number("timeout", options.timeout, low=0, high=MAX_TIMEOUT_SECONDS)
    if code == STDIN:
        code = sys.stdin.read()
    screen = Screen(raw=options.raw)
    ctrl_c = CtrlC(screen)
    with ctrl_c.watched():
        async with named_cluster(options.place) as cluster:
            runs = CellRuns(
                cluster.session(session_id), screen, ctrl_c, as_json=options.as_json, timeout=options.timeout
            )
            await note_missing_worker(cluster, screen)
            end = await runs.follow(code, "running")
    if end.status not in {CellStatus.FINISHED, CellStatus.FAILED}:
        screen.note(f"skep: the cell {end.word}", "red")
    return ExitCode.INTERRUPTED if ctrl_c.was_pressed else end.code


@asynccontextmanager
async def _cluster(options: RunOptions, screen: Screen) -> AsyncIterator[Cluster]:
    if options.place.redis_url is None:
        async with own_cluster(screen) as embedded:
            yield embedded
    else:
        async with named_cluster(options.place) as cluster:
            await note_missing_worker(cluster, screen)
            yield cluster


async def _run_cells(
    file: SourceFile, runs: CellRuns, lines: FileLines, outputs: dict[int, CellOutputs], *, keep_going: bool
) -> int:
    screen, total, started_at = runs.screen, len(file.cells), time.monotonic()
    failed: list[tuple[int, CellEnd]] = []
    number, status = 0, ExitCode.OK.value
    for number, cell in enumerate(file.cells, start=1):
        if screen.is_live and total > 1:
            screen.print(_heading(number, total, cell.title), error=True)
        outputs[cell.place] = CellOutputs(number, lines.shown)
        take = _taker(cell, outputs[cell.place], lines)
        end = await runs.follow(cell.code, f"[{number}/{total}] running" if total > 1 else "running", take)
        status = status or end.code
        if not end.is_ok:
            failed.append((number, end))
            if not keep_going:
                break
        if end.exit_status is not None or runs.ctrl_c.was_pressed:
            break
    _summarize(screen, total, total - number, failed, (time.monotonic() - started_at) * 1000)
    return status


def _taker(cell: SourceCell, outputs: CellOutputs, lines: FileLines) -> Callable[[Event], None]:
    def take(event: Event) -> None:
        if event.seq is not None:
            lines.place(event.seq, cell)
        outputs.take(event)

    return take


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
