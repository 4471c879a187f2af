"""What the benches give: figures with units, goals with what was measured against them, rows of both; no I/O.

A goal compares two numbers of the same run wherever it can: ratios travel between machines, milliseconds don't.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

ENOUGH_FOR_P99 = 20


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the samples lie below, between neighbours where it falls between them."""
    if len(samples) == 1:
        return samples[0]
    return statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of one contender: `value` is the median where there are several samples."""

    who: str
    value: float
    unit: str
    p99: float | None = None
    count: int = 1

    @classmethod
    def of(cls, who: str, samples: Sequence[float], unit: str = "ms") -> Self:
        """Return the figure of these samples."""
        p99 = percentile(samples, 99) if len(samples) >= ENOUGH_FOR_P99 else None
        return cls(who, statistics.median(samples), unit, p99, len(samples))

    @property
    def text(self) -> str:
        """Return it with three significant digits; `p50 / p99` of enough samples."""
        values = [self.value] if self.p99 is None else [self.value, self.p99]
        return f"{' / '.join(short(value) for value in values)} {self.unit}"


def short(value: float) -> str:
    """Return three significant digits, whole numbers in full."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    if 0 < abs(value) < 0.1:
        digits = 3
    return f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted of `measured`: at most `limit`, or `at_least` it."""

    wanted: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Return whether the limit is kept; a measurement that is not a number keeps none."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def text(self) -> str:
        """Return the goal, what was measured, and whether that is enough."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.is_met else "**missed**"
        return f"{self.wanted} {sign} {self.limit:g}: {short(self.measured)}, {verdict}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the limit that no design gets below, the peers, us, and what we want of ourselves."""

    what: str
    ours: Figure | None = None
    floor: Figure | None = None
    peers: tuple[Figure, ...] = ()
    goals: tuple[Goal, ...] = ()
    note: str = ""
    failed: bool = False

    @property
    def missed(self) -> list[Goal]:
        """Return the goals that were not met."""
        return [goal for goal in self.goals if not goal.is_met]

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "what": self.what,
            "ours": _figure(self.ours),
            "floor": _figure(self.floor),
            "peers": [_figure(peer) for peer in self.peers],
            "goals": [
                {"wanted": g.wanted, "measured": g.measured, "limit": g.limit, "at_least": g.at_least, "met": g.is_met}
                for g in self.goals
            ],
            "note": self.note,
            "failed": self.failed,
        }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        "who": figure.who,
        "value": figure.value,
        "unit": figure.unit,
        "p99": figure.p99,
        "count": figure.count,
    }
