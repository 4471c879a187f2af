"""`skep run` and `skep exec`: cells in, live output out, an exit status by how they ended."""

import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from skep.cli.cell_runs import CellEnd, CellFollower
from skep.cli.ctrl_c import CtrlC
from skep.cli.file_lines import FileLines
from skep.cli.flags import Place
from skep.cli.notebook_output import NOTEBOOK, check_output, write_notebook
from skep.cli.output.event_printers import duration
from skep.cli.output.failures import ExitCode
from skep.cli.output.screen import Screen
from skep.cli.places import flags_for, named_cluster, note_missing_worker, own_cluster, program_name
from skep.cli.script_place import pass_arguments, place_script
from skep.cli.source_files import STDIN, SourceCell, SourceFile, read_file
from skep.cluster import Cluster
from skep.export.cell_outputs import CellOutputs
from skep.local.embedded import EmbeddedCluster
from skep_shared.environment import variable_of
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event
from skep_shared.limits import MAX_TIMEOUT_SECONDS, check_number, check_session_id
from skep_shared.models import SessionOptions
from skep_shared.states import CellStatus


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and how to run; without a Redis URL files run on an embedded cluster, single cells on the default one.

    raw: print the cells' output to a terminal unchanged. arguments: of the file. output: the notebook to write.
    timeout: seconds that a cell may run. sandbox: the weakest tier that a new session may have.
    """

    place: Place
    session_id: str | None
    keep_going: bool
    as_json: bool
    raw: bool = False
    arguments: tuple[str, ...] = ()
    output: str | None = None
    timeout: float | None = None
    sandbox: str | None = None

    @property
    def session_options(self) -> SessionOptions | None:
        """The options of a new session."""
        return None if self.sandbox is None else SessionOptions(sandbox=self.sandbox)


async def run_file(name: str, options: RunOptions) -> int:
    """Run the cells of a file one after the other, and return the exit status."""
    if options.place.prefix is not None and options.place.redis_url is None:
        raise InvalidArgument("--prefix", options.place.prefix, "it names a cluster's keys, so --redis is needed too")
    if options.place.tenant is not None and options.place.redis_url is None:
        raise InvalidArgument("--tenant", options.place.tenant, "it is of a cluster, so --redis is needed too")
    if options.sandbox is not None and options.place.redis_url is None:
        raise InvalidArgument("--sandbox", options.sandbox, "it is for a cluster's workers, so --redis is needed too")
    sandbox = variable_of("sandbox")
    if options.place.redis_url is None and sandbox is not None and os.environ[sandbox] != "none":
        reason = "a file without --redis runs in this directory and with this stdin: unset it, or name --redis"
        raise InvalidArgument(sandbox, os.environ[sandbox], reason)
    session_id = check_session_id(options.session_id or _new_session_id(name))
    file = read_file(name)
    path = None
    if options.output is not None:
        path = check_output("--output", options.output, "a notebook", (NOTEBOOK,))
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
            session = cluster.session(session_id, options=options.session_options)
            if not isinstance(cluster, EmbeddedCluster):
                await note_missing_worker(cluster, screen, session, options.sandbox)
            if isinstance(cluster, EmbeddedCluster):
                await place_script(session, name, options.arguments)
            elif options.arguments:
                await pass_arguments(session, name, options.arguments)
            lines = FileLines(file)
            runs = CellFollower(session, screen, ctrl_c, as_json=options.as_json, shown=lines.shown)
            try:
                status = await _run_cells(file, runs, lines, outputs, keep_going=options.keep_going)
            finally:
                if path is not None:
                    write_notebook(path, file, outputs)
            if not isinstance(cluster, EmbeddedCluster):
                _note_session(cluster, session_id, screen)
    return ExitCode.INTERRUPTED if ctrl_c.was_pressed else status


async def execute_code(code: str, options: RunOptions) -> int:
    """Run one cell in a session of a cluster, and return the exit status."""
    session_id = check_session_id(options.session_id)
    if options.timeout is not None:
        check_number("timeout", options.timeout, low=0, high=MAX_TIMEOUT_SECONDS)
    if code == STDIN:
        code = sys.stdin.read()
    screen = Screen(raw=options.raw)
    ctrl_c = CtrlC(screen)
    with ctrl_c.watched():
        async with named_cluster(options.place) as cluster:
            session = cluster.session(session_id, options=options.session_options)
            runs = CellFollower(session, screen, ctrl_c, as_json=options.as_json, timeout=options.timeout)
            await note_missing_worker(cluster, screen, session, options.sandbox)
            end = await runs.follow(code, "running")
    if end.status not in {CellStatus.FINISHED, CellStatus.FAILED}:
        screen.note(f"skep: the cell {end.predicate}", "red")
    return ExitCode.INTERRUPTED if ctrl_c.was_pressed else end.code


@asynccontextmanager
async def _cluster(options: RunOptions, screen: Screen) -> AsyncIterator[Cluster]:
    if options.place.redis_url is None:
        async with own_cluster(screen) as embedded:
            yield embedded
    else:
        async with named_cluster(options.place) as cluster:
            yield cluster


async def _run_cells(
    file: SourceFile, runs: CellFollower, lines: FileLines, outputs: dict[int, CellOutputs], *, keep_going: bool
) -> int:
    screen, total, started_at = runs.screen, len(file.cells), time.monotonic()
    failed: list[tuple[int, CellEnd]] = []
    number, status = 0, ExitCode.OK.value
    for number, cell in enumerate(file.cells, start=1):
        if screen.is_terminal and total > 1:
            screen.print(_heading(number, total, cell.title), error=True)
        outputs[cell.place] = CellOutputs(number, lines.shown)
        take = _event_collector(cell, outputs[cell.place], lines)
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


def _event_collector(cell: SourceCell, outputs: CellOutputs, lines: FileLines) -> Callable[[Event], None]:
    def collect(event: Event) -> None:
        if event.seq is not None:
            lines.place(event.seq, cell)
        outputs.add(event)

    return collect


def _heading(number: int, total: int, title: str) -> Text:
    heading = Text(f"[{number}/{total}] ", "bold cyan", no_wrap=True, overflow="ellipsis")
    return heading.append(title, "dim")


def _summarize(screen: Screen, total: int, left: int, failed: list[tuple[int, CellEnd]], took_ms: float) -> None:
    """Print a summary: always on a terminal, otherwise only after a failure."""
    rest = f"; {left} not run" if left else ""
    if not failed:
        if screen.is_terminal and not left:
            cells = "1 cell" if total == 1 else f"{total} cells"
            screen.note(f"✓ {cells} in {duration(took_ms)}", "green")
        return
    mark = "✗" if screen.is_terminal else "skep:"
    number, end = failed[0]
    if len(failed) == 1:
        text = f"cell {number} of {total} {end.predicate}" if total > 1 else f"the cell {end.predicate}"
    else:
        text = f"{len(failed)} of {total} cells failed: {', '.join(str(number) for number, _ in failed)}"
    screen.note(f"{mark} {' '.join(text.split())}{rest}", "red")


def _note_session(cluster: Cluster, session_id: str, screen: Screen) -> None:
    """Print how to reach the session that remains."""
    screen.note(
        f"session {session_id} lives on; its record: {program_name()} replay {session_id}{flags_for(cluster.settings)}"
    )


def _new_session_id(name: str) -> str:
    stem = "stdin" if name == STDIN else Path(name).stem
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:60].strip("-.") or "file"
    return f"run-{safe}-{secrets.token_hex(3)}"
