"""Figures of a soak's history: takeovers, their causes, and how long sessions waited after a kill."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from ..checker.history import History, Op

ENDINGS = frozenset({"kill", "drain"})
LAPSES = frozenset({"pause", "cut", "down", "reset", "request lost", "reply lost"})
LAPSE_MS = 3000.0  # a lease, a heartbeat's duration, and one more look for sessions without owner


@dataclass
class Figures:
    """Times in ms, sorted. undisturbed: of kills without another fault at the time, except of clients' connections."""

    takeovers: int = 0
    without_cause: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    undisturbed: list[float] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)


def share(times: list[float], percent: int) -> float:
    """Return a percentile, 0 of nothing."""
    return times[min(len(times) - 1, len(times) * percent // 100)] if times else 0.0


def figures_of(history: History) -> Figures:
    """Return the figures of a history."""
    found = Figures()
    faults: dict[str, list[Op]] = defaultdict(list)
    claims: dict[str, list[Op]] = defaultdict(list)
    events: dict[str, list[Op]] = defaultdict(list)
    released: set[tuple[str, int]] = set()
    for op in history.ops:
        match op["op"]:
            case "fault":
                faults[op["node"]].append(op)
            case "claim":
                claims[op["session"]].append(op)
            case "event":
                events[op["session"]].append(op)
                found.attempts += op["kind"] == "cell.started"
                if op["kind"] == "cell.finished":
                    found.ends[op["status"]] += 1
            case "release":
                released.add((op["session"], op["epoch"]))
    for session, owned in claims.items():
        for before, claim in pairwise(owned):
            # Without losses it was released, even if the reply to that never came through.
            if not claim["losses"] or (session, before["epoch"]) in released:
                continue
            found.takeovers += 1
            owner = before["worker"]
            if not _has_cause([*faults[owner], *faults["redis"]], before["at"], claim["at"]):
                found.without_cause.append(f"{session} epoch {claim['epoch']} from {owner} at {claim['at']:.0f}")
            kill = next((fault for fault in faults[owner] if fault["kind"] == "kill"), None)
            if kill is not None and before["at"] <= kill["at"] <= claim["at"]:
                _measure(found, kill, claim, events[session], faults)
    found.gaps.sort()
    found.undisturbed.sort()
    return found


def _has_cause(faults: list[Op], since: float, at: float) -> bool:
    for fault in faults:
        if fault["at"] > at:
            continue
        if fault["kind"] in ENDINGS:
            return True
        end = fault["at"] + fault["seconds"] * 1000 + LAPSE_MS
        if fault["kind"] in LAPSES and end >= at and end >= since:
            return True
    return False


def _measure(found: Figures, kill: Op, claim: Op, events: list[Op], faults: dict[str, list[Op]]) -> None:
    """Add the time from a kill to the session's next event, if a cell waited then."""
    before = [op for op in events if op["at"] <= kill["at"]]
    queued, ended = ({op["cell"] for op in before if op["kind"] == kind} for kind in ("cell.queued", "cell.finished"))
    if queued == ended:
        return
    later = [op["at"] for op in events if op["epoch"] >= claim["epoch"] and op["kind"] != "cell.queued"]
    if not later:
        return
    took = later[0] - kill["at"]
    found.gaps.append(took)
    others = [fault for node, some in faults.items() if not node.startswith("c") for fault in some if fault is not kill]
    if not any(kill["at"] - LAPSE_MS / 2 <= fault["at"] <= later[0] for fault in others):
        found.undisturbed.append(took)
