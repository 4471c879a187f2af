"""The one table of a run, for people and for programs."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from .figures import ENOUGH_FOR_P99, Row

PACKAGES = (
    "skep", "redis", "hiredis", "arq", "uvloop", "msgpack", "pydantic", "numpy", "pandas", "polars", "scikit-learn",
    "torch", "networkx", "matplotlib", "ipykernel",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """One bench's rows, how long it took, and how busy others kept the machine just before it."""

    name: str
    rows: tuple[Row, ...]
    seconds: float
    busy: float


@dataclass(slots=True)
class Report:
    """All that a run gives."""

    is_quick: bool
    has_peers: bool = True
    redis_version: str = "?"
    sections: list[Section] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def rows(self) -> list[Row]:
        """Return all rows in order."""
        return [row for section in self.sections for row in section.rows]

    @property
    def is_good(self) -> bool:
        """Return whether every goal was met and no bench failed."""
        return not any(row.missed or row.failed for row in self.rows)

    @property
    def summary(self) -> str:
        """Return the count of goals, and the name of each that was missed."""
        goals = [goal for row in self.rows for goal in row.goals]
        lines = [f"{sum(goal.is_met for goal in goals)} of {len(goals)} goals met."]
        for section in self.sections:
            for row in section.rows:
                lines += [f"- {section.name}, {row.what}: {goal.text}" for goal in row.missed]
                if row.failed:
                    lines.append(f"- {section.name}, {row.what}: {row.note}")
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """Return the table, what it was measured with, and what was missed."""
        lines = ["| bench | measured | limit | peers | skep | goals | notes |", "|---|---|---|---|---|---|---|"]
        lines += [_line(section.name, row) for section in self.sections for row in section.rows]
        busy = ", ".join(f"{s.name} {s.seconds:.0f} s, {s.busy:.0%}" for s in self.sections)
        with_what = ", ".join(f"{name} {text}" for name, text in self.versions().items())
        return "\n".join(
            [
                *lines,
                "",
                f"Of {ENOUGH_FOR_P99} samples and more: p50 / p99, of fewer the median. Redis: append-only file, fsync every second, a unix socket. "
                f"{'Quick run. ' if self.is_quick else ''}{'' if self.has_peers else 'Without peers. '}{self.started_at:%Y-%m-%d %H:%M} UTC; {with_what}.",
                f"Time taken, and how busy others kept the machine just before: {busy}.",
                "",
                self.summary,
            ]
        )

    def as_json(self) -> str:
        """Return the same as JSON."""
        sections = [
            {"bench": s.name, "seconds": s.seconds, "busy": s.busy, "rows": [row.as_json() for row in s.rows]}
            for s in self.sections
        ]
        return json.dumps(
            {
                "started_at": self.started_at.isoformat(),
                "quick": self.is_quick,
                "peers": self.has_peers,
                "good": self.is_good,
                "versions": self.versions(),
                "benches": sections,
            },
            indent=2,
        )

    def versions(self) -> dict[str, str]:
        """Return what the run was made with."""
        return {name: _version(name) for name in PACKAGES} | {
            "python": platform.python_version(),
            "redis-server": self.redis_version,
            "cpus": str(os.cpu_count()),
        }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _line(bench: str, row: Row) -> str:
    ours = row.ours.text if row.ours else "**failed**" if row.failed else ""
    floor = f"{row.floor.who}: {row.floor.text}" if row.floor else ""
    peers = "<br>".join(f"{peer.who}: {peer.text}" for peer in row.peers)
    goals = "<br>".join(goal.text for goal in row.goals)
    return _cells([bench, row.what, floor, peers, ours, goals, row.note])


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"
