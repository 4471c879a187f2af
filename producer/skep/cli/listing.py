"""`skep sessions`, `workers` and `show`: what is there, as tables, or as JSON lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from skep.cli.event_printers import as_record, duration, print_json
from skep.cli.flags import Place
from skep.cli.places import named_cluster
from skep.cli.screen import Screen
from skep.cli.tables import Column, one_line, print_table, when
from skep.outcome import CellFold
from skep.session import Session
from skep.why import Standstill
from skep_shared.events import CellFinished, InputAnswered, InputRequested
from skep_shared.models import SessionInfo, WorkerInfo
from skep_shared.states import CellStatus

RECENT_EVENTS: Final = 2000  # how far `show` looks back for cells
RECENT_CELLS: Final = 10


async def list_sessions(place: Place, *, as_json: bool) -> int:
    """Print every session of the cluster; gives the exit status."""
    async with named_cluster(place) as cluster:
        found = [info async for info in cluster.sessions()]
    if as_json:
        for info in found:
            print_json(as_record(info))
        return 0
    screen = Screen()
    rows = [
        [
            info.id,
            info.state,
            f"{info.cursor}/{info.seq}",
            str(info.last_event),
            when(info.active_at, screen),
            _home(info),
        ]
        for info in found
    ]
    if not rows:
        screen.note("no sessions here yet")
        return 0
    columns = [
        Column("SESSION", gives_way=True),
        Column("STATE"),
        Column("DONE"),
        Column("EVENTS"),
        Column("ACTIVE"),
        Column("WORKER", gives_way=True),
    ]
    print_table(screen, columns, rows)
    return 0


async def list_workers(place: Place, *, as_json: bool) -> int:
    """Print every live worker of the cluster; gives the exit status."""
    async with named_cluster(place) as cluster:
        found = [info async for info in cluster.workers()]
    if as_json:
        for info in found:
            print_json(as_record(info))
        return 0
    screen = Screen()
    rows = [
        [
            info.id,
            f"{info.resident}/{info.capacity}",
            info.python,
            info.version,
            when(info.started_at, screen),
            when(info.heartbeat_at, screen),
            _labels(info),
        ]
        for info in found
    ]
    if not rows:
        screen.note("no worker is alive here (skep worker starts one)")
        return 0
    columns = [
        Column("WORKER", gives_way=True),
        Column("SESSIONS"),
        Column("PYTHON"),
        Column("SKEP"),
        Column("STARTED"),
        Column("LAST BEAT"),
        Column("LABELS" if any(info.labels for info in found) else "", gives_way=True),
    ]
    print_table(screen, columns, rows)
    return 0


async def show_session(session_id: str, place: Place, *, as_json: bool) -> int:
    """Print a session's state and its last cells; gives the exit status."""
    async with named_cluster(place) as cluster:
        why = await cluster.why(session_id)
        info = why.info
        cells = await _recent_cells(cluster.session(session_id), info) if info is not None else []
    reasons = [*why.reasons, *(_what_runs(cells) if info is not None and info.owner_alive else ())]
    if info is None:
        return _show_future_session(session_id, why, as_json=as_json)
    if as_json:
        shown = [_cell_record(cell) for cell in cells]
        print_json({**as_record(info), "pending": info.pending, "why": reasons, "cells": shown})
        return 0
    screen = Screen()
    _print_info(screen, info, reasons)
    rows = [_cell_row(cell) for cell in cells]
    if rows:
        screen.print("")
        columns = [Column("CELL"), Column("STATUS"), Column("TOOK")]
        print_table(screen, [*columns, Column("CODE", gives_way=True), Column("SAID", gives_way=True)], rows)
    return 0


@dataclass(slots=True)
class _RecentCell:
    """A cell as far as its events tell."""

    seq: int
    fold: CellFold
    attempt: int = 1
    asks: bool = False

    @property
    def status(self) -> str:
        return self.fold.finished.status if self.fold.finished is not None else "running"


def _show_future_session(session_id: str, why: Standstill, *, as_json: bool) -> int:
    """Print what is known of a session whose first cell is not due yet; gives the exit status."""
    if as_json:
        cells = [{"cell_id": cell.cell_id, "status": "deferred", "due": cell.due.isoformat()} for cell in why.deferred]
        print_json({"id": session_id, "pending": 0, "why": why.reasons, "cells": cells})
    else:
        screen = Screen()
        _print_lines(screen, {"session": f"{session_id} (not begun)", "why": "; ".join(why.reasons)})
    return 0


def _what_runs(cells: list[_RecentCell]) -> Iterator[str]:
    """Yield what the last cell is doing, if it has begun and not ended."""
    if not cells or cells[-1].fold.finished is not None:
        return
    asked = cells[-1].asks
    yield f"cell {cells[-1].seq} {'waits for an answer to input()' if asked else 'is running'}"


async def _recent_cells(session: Session, info: SessionInfo) -> list[_RecentCell]:
    cells: dict[str, _RecentCell] = {}
    async for event in session.events(f"{max(0, info.last_event - RECENT_EVENTS)}-0"):
        if event.cell_id is None or event.seq is None:
            continue
        cell = cells.setdefault(event.cell_id, _RecentCell(event.seq, CellFold(session.id, event.cell_id)))
        cell.fold.take(event)
        cell.attempt = event.attempt or cell.attempt
        cell.asks = isinstance(event, InputRequested) or (cell.asks and not isinstance(event, InputAnswered))
    return sorted(cells.values(), key=lambda cell: cell.seq)[-RECENT_CELLS:]


def _cell_record(cell: _RecentCell) -> dict[str, Any]:
    fold = cell.fold
    record: dict[str, Any] = {
        "seq": cell.seq, "cell_id": fold.cell_id, "status": cell.status, "attempt": cell.attempt,
        "code": fold.code, "text": fold.text, "labels": fold.labels,
    }  # fmt: skip
    if isinstance(fold.finished, CellFinished):
        outcome = fold.outcome()
        error = outcome.error
        record["run_ms"] = outcome.run_ms
        record["result"] = outcome.result
        record["error"] = {"ename": error.ename, "evalue": error.evalue} if error is not None else None
    return record


def _cell_row(cell: _RecentCell) -> list[Text | str]:
    fold = cell.fold
    said, took = one_line(fold.text), ""
    if fold.finished is not None:
        outcome = fold.outcome()
        took = duration(outcome.run_ms)
        if outcome.error is not None:
            said = one_line(f"{outcome.error.ename}: {outcome.error.evalue}")
        elif outcome.result is not None:
            said = one_line(str(outcome.result.get("text/plain", "")))
    style = {CellStatus.FINISHED: "green", "running": "yellow"}.get(cell.status, "red")
    again = f" ({cell.attempt}.)" if cell.attempt > 1 else ""
    return [str(cell.seq), Text(cell.status.replace("_", " ") + again, style), took, one_line(fold.code), said]


def _print_info(screen: Screen, info: SessionInfo, reasons: list[str]) -> None:
    owner = "none; the next cell finds one" if info.owner is None else info.owner
    if info.owner is not None and not info.owner_alive:
        owner += " (dead; another worker takes over)"
    lines = {
        "session": f"{info.id} ({info.state})",
        "worker": f"{owner}, epoch {info.epoch}",
        "cells": f"{info.cursor} done, {info.pending} pending",
        "events": f"{info.last_event}",
        "created": when(info.created_at, screen),
        "active": when(info.active_at, screen),
    }
    if reasons:
        lines["why"] = "; ".join(reasons)
    _print_lines(screen, lines)


def _print_lines(screen: Screen, lines: dict[str, str]) -> None:
    for name, value in lines.items():
        screen.print(Text.assemble((f"{name:<8} ", "bold cyan"), value))


def _home(info: SessionInfo) -> str:
    if info.owner is None:
        return "-"
    return info.owner if info.owner_alive else f"{info.owner} (dead)"


def _labels(info: WorkerInfo) -> str:
    return ",".join(f"{name}={value}" for name, value in info.labels.items())
