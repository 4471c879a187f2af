"""`skep sessions`, `workers` and `show`: listings as tables or as JSON lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from skep.cli.flags import Place, read_labels
from skep.cli.output.event_printers import as_record, duration, print_json
from skep.cli.output.listings import Listing
from skep.cli.output.screen import Screen
from skep.cli.output.tables import Column, one_line, print_table, time_text
from skep.cli.places import flags_for, named_cluster, program_name
from skep.listings.session_listing import SessionFilter
from skep.outcome import CellFold
from skep.session import Session
from skep.why import Standstill
from skep_shared.events import CellFinished, InputAnswered, InputRequested
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionInfo, WorkerInfo
from skep_shared.states import CellStatus

RECENT_EVENTS: Final = 2000  # events before the last one in which `show` searches for cells
RECENT_CELLS: Final = 10


async def list_sessions(
    place: Place, *, labels: Sequence[str], state: str | None, prefix: str | None, as_json: bool
) -> int:
    """Print the sessions of the cluster that match, and return the exit status. labels: NAME=VALUE."""
    wanted = read_labels(labels)
    SessionFilter.checked(wanted, state, prefix, has_tenant=place.tenant is not None)  # before it connects
    async with named_cluster(place) as cluster:
        found = [info async for info in cluster.sessions(labels=wanted, state=state, prefix=prefix)]
    columns = (
        Column("SESSION", may_shrink=True),
        Column("STATE"),
        Column("DONE"),
        Column("EVENTS"),
        Column("ACTIVE"),
        Column("WORKER", may_shrink=True),
        Column("SANDBOX" if any(info.sandbox != Tier.NONE for info in found) else ""),
        Column("WHY" if any(info.shortage for info in found) else "", may_shrink=True),
        Column("LABELS" if any(info.labels for info in found) else "", may_shrink=True),
    )
    none_found = "no such session here" if wanted or state or prefix else "no sessions here yet"
    return Listing(columns, _session_row, as_record, none_found).show(found, as_json=as_json)


async def list_workers(place: Place, *, as_json: bool) -> int:
    """Print every live worker of the cluster, and return the exit status."""
    async with named_cluster(place) as cluster:
        found = [info async for info in cluster.workers()]
        flags = flags_for(cluster.settings, with_tenant=False)
        none_found = f"no worker is alive here ({program_name()} worker{flags} starts one)"
    columns = (
        Column("WORKER", may_shrink=True),
        Column("SESSIONS"),
        Column("PYTHON"),
        Column("SKEP"),
        Column("STARTED"),
        Column("LAST BEAT"),
        Column("SANDBOX", may_shrink=True),
        Column("NETWORK", may_shrink=True),
        Column("LABELS" if any(info.labels for info in found) else "", may_shrink=True),
    )
    return Listing(columns, _worker_row, as_record, none_found).show(found, as_json=as_json)


async def show_session(session_id: str, place: Place, *, as_json: bool) -> int:
    """Print a session's state and its last cells, and return the exit status."""
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
        print_table(screen, [*columns, Column("CODE", may_shrink=True), Column("OUTPUT", may_shrink=True)], rows)
    return 0


@dataclass(slots=True)
class _RecentCell:
    """A cell as its events describe it."""

    seq: int
    fold: CellFold
    attempt: int = 1
    asks: bool = False

    @property
    def status(self) -> str:
        return self.fold.finished.status if self.fold.finished is not None else "running"


def _show_future_session(session_id: str, why: Standstill, *, as_json: bool) -> int:
    """Print the reasons for a session whose first cell is not due yet, and return the exit status."""
    if as_json:
        cells = [{"cell_id": cell.cell_id, "status": "deferred", "due": cell.due.isoformat()} for cell in why.deferred]
        print_json({"id": session_id, "pending": 0, "why": why.reasons, "cells": cells})
    else:
        screen = Screen()
        _print_lines(screen, {"session": f"{session_id} (not begun)", "why": "; ".join(why.reasons)})
    return 0


def _what_runs(cells: list[_RecentCell]) -> Iterator[str]:
    """Yield the state of the last cell, if it has begun and not ended."""
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
        cell.fold.add(event)
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
    output, took = one_line(fold.text), ""
    if fold.finished is not None:
        outcome = fold.outcome()
        took = duration(outcome.run_ms)
        if outcome.error is not None:
            output = one_line(f"{outcome.error.ename}: {outcome.error.evalue}")
        elif outcome.result is not None:
            output = one_line(str(outcome.result.get("text/plain", "")))
    style = {CellStatus.FINISHED: "green", "running": "yellow"}.get(cell.status, "red")
    again = f" ({cell.attempt}.)" if cell.attempt > 1 else ""
    return [str(cell.seq), Text(cell.status.replace("_", " ") + again, style), took, one_line(fold.code), output]


def _print_info(screen: Screen, info: SessionInfo, reasons: list[str]) -> None:
    owner = "none; the next cell finds one" if info.owner is None else info.owner
    if info.owner is not None and not info.owner_alive:
        owner += " (dead; another worker takes over)"
    lines = {
        "session": f"{info.id} ({info.state})",
        "worker": f"{owner}, epoch {info.epoch}",
        "cells": f"{info.cursor} done, {info.pending} pending",
        "events": f"{info.last_event}",
        "created": time_text(info.created_at, screen),
        "active": time_text(info.active_at, screen),
    }
    if info.labels:
        lines["labels"] = _labels(info)
    if info.env:
        lines["env"] = ", ".join(info.env)
    if info.cwd:
        lines["cwd"] = info.cwd
    if info.idle_seconds is not None:
        lines["idle"] = f"hibernates after {info.idle_seconds:g} s without a cell"
    if info.expires_in is not None:
        lines["expires"] = f"is closed after {info.expires_in:g} s without a cell"
    if info.sandbox != Tier.NONE:
        lines["sandbox"] = _wanted_sandbox(info)
    if info.network is not None:
        hosts = f": {', '.join(info.allowed_hosts) or 'no hosts'}" if info.network == "allow-list" else ""
        lines["network"] = f"{info.network}{hosts}"
    if reasons:
        lines["why"] = "; ".join(reasons)
    _print_lines(screen, lines)


def _print_lines(screen: Screen, lines: dict[str, str]) -> None:
    for name, value in lines.items():
        screen.print(Text.assemble((f"{name:<8} ", "bold cyan"), value))


def _session_row(info: SessionInfo, screen: Screen) -> list[str]:
    done, active = f"{info.cursor}/{info.seq}", time_text(info.active_at, screen)
    place = [active, _home(info), _wanted_sandbox(info)]
    return [info.id, info.state, done, str(info.last_event), *place, info.shortage, _labels(info)]


def _worker_row(info: WorkerInfo, screen: Screen) -> list[str]:
    sessions, started, beat = f"{info.resident}/{info.capacity}", info.started_at, info.heartbeat_at
    return [
        info.id,
        sessions,
        info.python,
        info.version,
        time_text(started, screen),
        time_text(beat, screen),
        _sandbox(info),
        _network(info),
        _labels(info),
    ]


def _home(info: SessionInfo) -> str:
    if info.owner is None:
        return "-"
    return info.owner if info.owner_alive else f"{info.owner} (dead)"


def _wanted_sandbox(info: SessionInfo) -> str:
    """Return the tier that a session asks for, and the one that it has if that is stronger."""
    if info.sandbox == Tier.NONE:
        return ""
    return info.sandbox if info.owner_sandbox in {None, info.sandbox} else f"{info.sandbox} (has {info.owner_sandbox})"


def _sandbox(info: WorkerInfo) -> str:
    """Return the tier, and what blocks the next stronger one."""
    return f"{info.sandbox} ({info.sandbox_blocked_by})" if info.sandbox_blocked_by else info.sandbox


def _network(info: WorkerInfo) -> str:
    """Return the network of sessions that ask for none, and those that they may ask for instead."""
    others = [network for network in info.networks if network != info.network]
    return f"{info.network} (on request: {', '.join(others)})" if others else info.network


def _labels(info: WorkerInfo | SessionInfo) -> str:
    return ",".join(f"{name}={value}" for name, value in info.labels.items())
