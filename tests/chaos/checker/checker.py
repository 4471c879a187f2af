"""Decides from a history whether the guarantees held: Jepsen's analysis of kafka, for cells.

Event ids are dense and known and every cell's effect is known, so nothing has to be searched for: each check is one pass
over the events, the reads or the submits. What is found has a name of `anomalies.ANOMALIES`. A history in which Redis went back
(`rollback` in its meta) is judged separately: what a rollback takes with it is counted as `resets`, everything else
must hold there too.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from skep_shared.isolation.sandbox_tiers import Tier, is_as_strong

from .anomalies import ANOMALIES, RESETS, Anomaly, Verdict
from .history import History, Op
from .oracle import NOTHING, absorb, lines_of

UNCHANGED: Final = frozenset({"failed", "crashed", "cancelled", "lost"})
_RAN_TO_ITS_END: Final = frozenset({"finished", "failed"})  # others may have been ended by a run that was voided
MOST_STATES: Final = 256
_RANKS: Final = {
    "cell.queued": 0, "cell.retried": 1, "cell.started": 2, "output": 3, "result": 4, "error": 4, "cell.finished": 5,
}  # fmt: skip
_CAUSES: Final = frozenset({"kill", "pause", "cut", "down", "drain", "request lost", "reply lost", "late"})


@dataclass
class _Cell:
    """What the stream says of a cell."""

    seq: int
    attempt: int = 0
    rank: int = 0
    is_announced: bool = True
    texts: dict[int, list[str]] = field(default_factory=dict)
    first: int = 0
    finished: Op | None = None
    value: Any = None


class _Session:
    """The operations of one session."""

    def __init__(self) -> None:
        self.submits: list[Op] = []
        self.events: list[Op] = []
        self.claims: list[Op] = []
        self.reads: dict[str, list[Op]] = defaultdict(list)
        self.readers: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self.final: Op | None = None
        self.is_closed = False


def _number(checkpoint: str | None) -> int:
    """Return the seq of the cell that a checkpoint was made after, 0 for no checkpoint."""
    return int(checkpoint.split("-")[0]) if checkpoint else 0


def _last_failure(events: list[Op]) -> int:
    return max((op.get("after") or 0 for op in events if op["kind"] == "checkpoint.failed"), default=0)


def _losses(events: list[Op]) -> list[tuple[int, int]]:
    """Return where effects without a checkpoint were lost with their process: event id, and seq of the restored cell.

    Only losses that were fully announced: the failed checkpoint, the lost effects, and the restored checkpoint.
    """
    losses, failed, lost_at = [], 0, None
    for op in events:
        match op["kind"]:
            case "checkpoint.failed":
                failed = max(failed, op.get("after") or 0)
            case "warning" if op.get("category") == "checkpoint.behind":
                lost_at = op["id"]
            case "session.restored" | "session.started" if lost_at is not None:
                restored = _number(op.get("checkpoint"))
                if restored < failed:
                    losses.append((lost_at, restored))
                lost_at = None
    return losses


class Checker:
    """Checks one history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._verdict = Verdict()
        self._sessions: dict[str, _Session] = defaultdict(_Session)
        self._faults: list[Op] = []
        self._latencies: list[float] = []

    def check(self) -> Verdict:
        """Return the verdict."""
        self._sort_out()
        for name, session in self._sessions.items():
            cells = self._check_stream(name, session)
            self._check_submits(name, session, cells)
            self._check_batches(name, session, cells)
            self._check_commits(name, session, cells)
            self._check_final(name, session, cells)
            self._check_readers(name, session)
            self._check_owners(name, session)
        meta = self._history.meta
        if not meta.get("drained", True):
            self._found("not drained", "", f"{meta.get('drain_seconds')} s after the last fault")
        self._measure()
        return self._verdict

    def _found(self, name: str, session: str, text: str) -> None:
        assert name in ANOMALIES, name
        verdict = self._verdict
        is_reset = self._history.meta.get("rollback") and name in RESETS
        (verdict.resets if is_reset else verdict.anomalies).append(Anomaly(name, session, text))

    def _sort_out(self) -> None:
        sessions = self._sessions
        for op in self._history.ops:
            match op["op"]:
                case "event":
                    sessions[op["session"]].events.append(op)
                case "read":
                    sessions[op["session"]].reads[op["reader"]].append(op)
                case "reader":
                    sessions[op["session"]].readers[op["reader"]] = op["after"]
                case "submit":
                    sessions[op["session"]].submits.append(op)
                case "claim":
                    sessions[op["session"]].claims.append(op)
                case "place":
                    sessions[op["session"]].places[op["cell"]] = op["entry"]
                case "final":
                    sessions[op["session"]].final = op
                case "close":
                    sessions[op["session"]].is_closed = True
                case "fault":
                    self._faults.append(op)
                    name = {"worker exit": "worker exit", "protocol": "broken protocol"}.get(op["kind"])
                    if op["kind"] in {"unhandled", "stalled"}:
                        name = "unhandled"
                    if name is not None:
                        self._found(name, "", f"{op['node']} {op['text']}")

    def _check_owners(self, name: str, session: _Session) -> None:
        wanted = {op["sandbox"] for op in session.submits if "sandbox" in op}
        for claim in session.claims:
            tier = claim.get("sandbox", Tier.NONE)
            if not all(is_as_strong(tier, each) for each in wanted):
                self._found("weaker sandbox", name, f"{claim['worker']} with {tier}, epoch {claim['epoch']}")

    # --- the event stream, and each cell's life

    def _check_stream(self, name: str, session: _Session) -> dict[str, _Cell]:
        cells: dict[str, _Cell] = {}
        owner_since = [(claim["last"], claim["epoch"]) for claim in session.claims]
        claim_number, owed_epoch, epoch, expected = 0, 0, 0, 1
        for op in session.events:
            if op["id"] != expected:
                self._found("hole", name, f"{op['id']}-0 follows {expected - 1}-0")
            expected = op["id"] + 1
            if op["epoch"] < epoch:
                self._found("epoch going back", name, f"{op['id']}-0 has epoch {op['epoch']} after {epoch}")
            epoch = max(epoch, op["epoch"])
            while claim_number < len(owner_since) and owner_since[claim_number][0] < op["id"]:
                owed_epoch = max(owed_epoch, owner_since[claim_number][1])
                claim_number += 1
            if op["epoch"] < owed_epoch:
                self._found("stale-epoch write", name, f"{op['id']}-0 of epoch {op['epoch']}, claimed was {owed_epoch}")
            if op.get("category") == "checkpoint.damaged":
                self._found("damaged checkpoint", name, f"{op['id']}-0")
            if op.get("cell") is not None:
                self._check_cell_event(name, op, cells)
        return cells

    def _check_cell_event(self, name: str, op: Op, cells: dict[str, _Cell]) -> None:
        cell_id, kind, attempt = op["cell"], op["kind"], op["attempt"]
        cell = cells.get(cell_id)
        if cell is None:
            cell = cells[cell_id] = _Cell(op["seq"], first=op["id"])
        where = f"{cell_id} at {op['id']}-0"
        if cell.seq != op["seq"]:
            self._found("two positions", name, f"{where}: seq {op['seq']} and {cell.seq}")
        rank = _RANKS.get(kind)
        if cell.finished is not None:
            is_end = kind == "cell.finished"
            self._found("second commit" if is_end else "output after result", name, f"{where}: {kind}")
            return
        if attempt != cell.attempt:
            if attempt < cell.attempt:
                self._found("unannounced attempt", name, f"{where}: {kind} of attempt {attempt} after {cell.attempt}")
            cell.is_announced = attempt == 1
            cell.attempt, cell.rank = attempt, 0
            cell.first = op["id"] if kind == "cell.queued" else cell.first
            cell.texts.setdefault(attempt, [])
        if kind == "cell.retried":
            cell.is_announced = True
        elif kind != "cell.queued" and not cell.is_announced:
            self._found("unannounced attempt", name, f"{where}: {kind} of attempt {attempt}")
            cell.is_announced = True
        if rank is not None:
            if rank < cell.rank:
                self._found("output after result", name, f"{where}: {kind} is out of order")
            cell.rank = max(cell.rank, rank)
        if kind == "output":
            cell.texts[attempt].append(op["text"])
        elif kind == "result":
            cell.value = op.get("value")
        elif kind == "cell.finished":
            cell.finished = op

    # --- one terminal event per cell, and order

    def _check_submits(self, name: str, session: _Session, cells: dict[str, _Cell]) -> None:
        by_cell: dict[str, Op] = {}
        cell_of_seq: dict[int, str] = {}
        for op in session.submits:
            cell_id = op["cell"]
            by_cell[cell_id] = op
            cell = cells.get(cell_id)
            if op["status"] == "ok":
                if cell_of_seq.setdefault(op["seq"], cell_id) != cell_id:
                    self._found("two positions", name, f"seq {op['seq']} is {cell_id} and {cell_of_seq[op['seq']]}")
                if cell is not None and cell.seq != op["seq"]:
                    self._found("two positions", name, f"{cell_id} was told {op['seq']}, its events say {cell.seq}")
                if cell is None or cell.finished is None:
                    self._found("lost cell", name, f"{cell_id} of seq {op['seq']}")
                else:
                    self._latencies.append(max(0.0, cell.finished["at"] - op["to"]))
            elif op["status"] == "fail" and cell is not None:
                self._found("phantom commit", name, cell_id)
        for cell_id, cell in cells.items():
            op = by_cell.get(cell_id, {})
            if not op:
                self._found("unknown cell", name, cell_id)
            else:
                self._check_output(name, cell_id, cell, op)
            self._check_place(name, cell_id, cell, session)
        # A submit that was answered before another one was sent comes before it.
        answered = sorted((op["to"], op["seq"]) for op in session.submits if op["status"] == "ok")
        highest, number = 0, 0
        for op in sorted(session.submits, key=lambda op: op["from"]):
            while number < len(answered) and answered[number][0] < op["from"]:
                highest = max(highest, answered[number][1])
                number += 1
            if op["status"] == "ok" and op["seq"] <= highest:
                self._found("order of submits", name, f"{op['cell']} has seq {op['seq']}, {highest} was given before")

    def _check_batches(self, name: str, session: _Session, cells: dict[str, _Cell]) -> None:
        """What was done for a cell before is judged by how that one ended: both may have run again since."""
        ends = {cell_id: cell.finished for cell_id, cell in cells.items() if cell.finished is not None}
        for op in session.submits:
            end, before = ends.get(op["cell"]), op.get("after")
            if end is None or before is None:
                continue
            status = ends[before]["status"] if before in ends else "nothing"
            if status != "finished" and end["status"] in _RAN_TO_ITS_END:
                self._found("ran after a failure", name, f"{op['cell']} {end['status']}, {before} {status}")
        for cell_id, end in ends.items():
            cause = end.get("stopped_by")
            if cause is not None and (cause not in ends or ends[cause]["status"] == "finished"):
                self._found("stopped without cause", name, f"{cell_id} was cancelled for {cause}")

    def _check_output(self, name: str, cell_id: str, cell: _Cell, submit: Op) -> None:
        whole = "".join(lines_of(cell_id, submit["lines"]))
        for attempt, parts in cell.texts.items():
            text = "".join(parts)
            is_final = cell.finished is not None and attempt == cell.attempt and cell.finished["status"] == "finished"
            if is_final and text != whole:
                self._found("incomplete final attempt", name, f"{cell_id}: {text!r}")
            elif not whole.startswith(text):
                self._found("aborted attempt is no prefix", name, f"{cell_id}, attempt {attempt}: {text!r}")

    def _check_place(self, name: str, cell_id: str, cell: _Cell, session: _Session) -> None:
        entry = session.places.get(cell_id)
        if entry is None or cell.finished is None:
            return
        # The first event is that of the attempt whose owner ended it.
        mark, _, rest = entry.partition(":")
        if mark != "d" or not rest.startswith(f"{cell.seq}:") or not rest.endswith(f":{cell.finished['id']}"):
            self._found("misplaced outcome", name, f"{cell_id}: {entry}, it ended at {cell.finished['id']}-0")

    # --- state

    def _check_commits(self, name: str, session: _Session, cells: dict[str, _Cell]) -> None:
        ends = sorted((cell.finished["id"], cell_id) for cell_id, cell in cells.items() if cell.finished is not None)
        states = [NOTHING]
        history = [states]  # what the state may have been after so many commits
        losses = _losses(session.events)
        for number, (end, cell_id) in enumerate(ends, 1):
            while losses and losses[0][0] < end:
                states = history[min(losses.pop(0)[1], number - 1)]
            cell = cells[cell_id]
            assert cell.finished is not None
            if cell.seq != number:
                self._found("order of commits", name, f"{cell_id} of seq {cell.seq} ended as number {number}")
            status = cell.finished["status"]
            after = [absorb(state, cell_id) for state in states]
            if status == "finished":
                value = (cell.value[0], cell.value[1]) if cell.value else None
                if value not in after:
                    self._found("state divergence", name, f"{cell_id} gave {value}, {after[:3]} was expected")
                states = [value or after[0]]
            elif status not in UNCHANGED:  # an interrupt may come before its effect, or after it
                states = list(dict.fromkeys([*states, *after]))[:MOST_STATES]
            history.append(states)
        final = session.final
        if final is None:
            return
        if final["cursor"] != len(ends):
            self._found("cursor mismatch", name, f"it is {final['cursor']}, {len(ends)} cells have ended")
        if final["missing"]:
            self._found("checkpoint mismatch", name, f"{final['missing']} chunks of {final['head']} are not there")
        elif final["checkpoint"] is not None or final["head"]:
            saved = tuple(final["checkpoint"]) if final["checkpoint"] else None
            head = _number(final["head"])
            is_behind = _last_failure(session.events) > head  # no checkpoint could be made, and that was said
            if saved not in states and not (is_behind and saved in history[min(head, len(ends))]):
                self._found("checkpoint mismatch", name, f"{final['head']} has {saved}, {states[:3]} was expected")
        elif NOTHING not in states:
            self._found("checkpoint mismatch", name, f"there is none, {states[:3]} was expected")

    def _check_final(self, name: str, session: _Session, cells: dict[str, _Cell]) -> None:
        final = session.final
        if final is None:
            if session.events:
                self._found("hole", name, "the session is gone")
            elif any(op["status"] == "ok" for op in session.submits):
                self._found("lost cell", name, "the session was never made, or is gone")
            return
        last = session.events[-1]["id"] if session.events else 0
        if last != final["last"]:
            self._found("hole", name, f"the stream ends at {last}-0, the session says {final['last']}-0")
        if final["cursor"] < final["seq"]:
            self._found("not drained", name, f"{final['seq'] - final['cursor']} cells pending")
        if final["state"] == "closing":
            self._found("not drained", name, "it did not close")

    # --- readers

    def _check_readers(self, name: str, session: _Session) -> None:
        contents = {op["id"]: op["digest"] for op in session.events}
        last = max(contents, default=0)
        for reader, start in session.readers.items():
            seen = start
            for op in session.reads.get(reader, ()):
                number = op["id"]
                if number <= seen:
                    self._found("non-monotonic read", name, f"{reader}: {number}-0 after {seen}-0")
                elif number != seen + 1:
                    self._found("skip", name, f"{reader}: {number}-0 after {seen}-0")
                seen = max(seen, number)
                if number not in contents:
                    self._found("vanished event", name, f"{reader}: {number}-0")
                elif contents[number] != op["digest"]:
                    self._found("two contents", name, f"{reader}: {number}-0")
            if seen < last:
                self._found("unseen tail", name, f"{reader} has seen up to {seen}-0 of {last}-0")

    # --- metrics

    def _measure(self) -> None:
        metrics = self._verdict.metrics
        by_node: dict[str, list[Op]] = defaultdict(list)
        for fault in self._faults:
            if fault["kind"] in _CAUSES:
                by_node[fault["node"]].append(fault)
        takeovers = without_cause = 0
        for session in self._sessions.values():
            for claim in session.claims:
                if not claim["losses"] or claim["previous"] in {"", claim["worker"]}:
                    continue
                takeovers += 1
                owner = claim["previous"].partition("-")[0]
                causes = [*by_node.get(owner, ()), *by_node.get("redis", ())]
                without_cause += not any(fault["at"] <= claim["at"] for fault in causes)
        latencies = sorted(self._latencies)
        metrics["cells"] = len(latencies)
        metrics["events"] = sum(len(session.events) for session in self._sessions.values())
        metrics["reads"] = sum(len(reads) for session in self._sessions.values() for reads in session.reads.values())
        metrics["faults"] = len(self._faults)
        metrics["takeovers"] = takeovers
        metrics["takeovers_without_cause"] = without_cause
        metrics["drain_seconds"] = float(self._history.meta.get("drain_seconds", 0.0))
        for share in (50, 99):
            at = min(len(latencies) - 1, len(latencies) * share // 100)
            metrics[f"p{share}_ms"] = latencies[at] if latencies else 0.0


def check(history: History) -> Verdict:
    """Return the verdict on a history."""
    return Checker(history).check()
