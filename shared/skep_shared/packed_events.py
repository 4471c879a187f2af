"""Packs each kind of event that a worker reports; the parameters are the fields of the event's class in events.py.

A maker for each kind, so that the type checker knows kind and fields where an event is reported, and no object is made
of an event that is only written. Fields that have a default in the class and no value here are omitted in the stream.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from skep_shared.event_codec import pack_event
from skep_shared.states import CellStatus

EventHead = NewType("EventHead", dict[str, Any])  # the fields that don't depend on the kind


def session_head(epoch: int, at_ms: int) -> EventHead:
    """Return the head of an event of the session as a whole."""
    return EventHead({"epoch": epoch, "at": at_ms})


def cell_head(cell_id: str | None, seq: int, attempt: int, epoch: int, at_ms: int) -> EventHead:
    """Return the head of an event of a cell. cell_id: None if it is not known any more."""
    return EventHead({"cell_id": cell_id, "seq": seq, "attempt": attempt, "epoch": epoch, "at": at_ms})


@dataclass(frozen=True, slots=True)
class EndedWork:
    """What ended together with a session's process. notes: what went wrong meanwhile."""

    tasks: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def nonempty(self) -> dict[str, list[str]]:
        """Return the lists that have items, by name."""
        lists = {
            "tasks": self.tasks,
            "threads": self.threads,
            "children": self.children,
            "connections": self.connections,
            "notes": self.notes,
        }
        return {name: items for name, items in lists.items() if items}


def session_started(head: EventHead, *, worker_id: str, python: str) -> bytes:
    """Pack a SessionStarted."""
    return pack_event({"kind": "session.started", **head, "worker_id": worker_id, "python": python})


def session_restored(
    head: EventHead,
    *,
    worker_id: str,
    python: str,
    checkpoint: str,
    lost: dict[str, str],
    notes: list[str],
    is_live: bool,
) -> bytes:
    """Pack a SessionRestored."""
    return pack_event({
        "kind": "session.restored", **head, "worker_id": worker_id, "python": python, "checkpoint": checkpoint,
        "lost": lost, "notes": notes, "is_live": is_live,
    })  # fmt: skip


def session_moved(head: EventHead, *, worker_id: str, from_worker_id: str, reason: str) -> bytes:
    """Pack a SessionMoved."""
    where = {"worker_id": worker_id, "from_worker_id": from_worker_id}
    return pack_event({"kind": "session.moved", **head, **where, "reason": reason})


def session_hibernated(head: EventHead, *, worker_id: str, reason: str, ended: EndedWork) -> bytes:
    """Pack a SessionHibernated."""
    own = {"worker_id": worker_id, "reason": reason}
    return pack_event({"kind": "session.hibernated", **head, **own, **ended.nonempty()})


def session_rolled_back(head: EventHead, *, checkpoint: str, from_checkpoint: str, ended: EndedWork) -> bytes:
    """Pack a SessionRolledBack."""
    own = {"checkpoint": checkpoint, "from_checkpoint": from_checkpoint}
    return pack_event({"kind": "session.rolled_back", **head, **own, **ended.nonempty()})


def session_closed(head: EventHead, *, ended: EndedWork) -> bytes:
    """Pack a SessionClosedEvent."""
    return pack_event({"kind": "session.closed", **head, **ended.nonempty()})


def checkpoint_saved(head: EventHead, *, checkpoint: str) -> bytes:
    """Pack a CheckpointSaved."""
    return pack_event({"kind": "checkpoint.saved", **head, "checkpoint": checkpoint})


def checkpoint_partial(head: EventHead, *, checkpoint: str, lost: dict[str, str]) -> bytes:
    """Pack a CheckpointPartial."""
    return pack_event({"kind": "checkpoint.partial", **head, "checkpoint": checkpoint, "lost": lost})


def checkpoint_failed(head: EventHead, *, after: int, reason: str) -> bytes:
    """Pack a CheckpointFailed."""
    return pack_event({"kind": "checkpoint.failed", **head, "after": after, "reason": reason})


def cell_queued(head: EventHead, *, code: str, labels: dict[str, str]) -> bytes:
    """Pack a CellQueued."""
    event = {"kind": "cell.queued", **head, "code": code}
    if labels:
        event["labels"] = labels
    return pack_event(event)


def cell_started(head: EventHead) -> bytes:
    """Pack a CellStarted."""
    return pack_event({"kind": "cell.started", **head})


def cell_retried(head: EventHead, *, reason: str) -> bytes:
    """Pack a CellRetried."""
    return pack_event({"kind": "cell.retried", **head, "reason": reason})


def output(head: EventHead, *, stream: Literal["stdout", "stderr"], text: str) -> bytes:
    """Pack an OutputEvent."""
    return pack_event({"kind": "output", **head, "stream": stream, "text": text})


def output_truncated(head: EventHead, *, limit_bytes: int) -> bytes:
    """Pack an OutputTruncated."""
    return pack_event({"kind": "output.truncated", **head, "limit_bytes": limit_bytes})


def output_cleared(head: EventHead, *, waits: bool) -> bytes:
    """Pack an OutputCleared."""
    return pack_event({"kind": "output.cleared", **head, "waits": waits})


def display(head: EventHead, *, bundle: dict[str, Any], display_id: str | None, updates: bool) -> bytes:
    """Pack a DisplayEvent."""
    return pack_event({"kind": "display", **head, "bundle": bundle, "display_id": display_id, "updates": updates})


def input_requested(head: EventHead, *, request: int, prompt: str, is_password: bool) -> bytes:
    """Pack an InputRequested."""
    own = {"request": request, "prompt": prompt, "is_password": is_password}
    return pack_event({"kind": "input.requested", **head, **own})


def input_answered(head: EventHead, *, request: int, text: str | None) -> bytes:
    """Pack an InputAnswered."""
    return pack_event({"kind": "input.answered", **head, "request": request, "text": text})


def result(head: EventHead, *, bundle: dict[str, Any], data: bytes | None) -> bytes:
    """Pack a ResultEvent."""
    return pack_event({"kind": "result", **head, "bundle": bundle, "data": data})


def error(head: EventHead, *, ename: str, evalue: str, traceback: str) -> bytes:
    """Pack an ErrorEvent."""
    return pack_event({"kind": "error", **head, "ename": ename, "evalue": evalue, "traceback": traceback})


def warning(head: EventHead, *, category: str, message: str) -> bytes:
    """Pack a WarningEvent."""
    return pack_event({"kind": "warning", **head, "category": category, "message": message})


def cell_finished(  # noqa: PLR0913 - the fields of the event
    head: EventHead,
    *,
    status: CellStatus,
    queued_ms: float,
    run_ms: float,
    commit_ms: float,
    checkpoint: str | None,
    unsaved: str,
    stopped_by: str | None,
) -> bytes:
    """Pack a CellFinished."""
    event = {
        "kind": "cell.finished", **head, "status": str(status), "queued_ms": queued_ms, "run_ms": run_ms,
        "commit_ms": commit_ms, "checkpoint": checkpoint,
    }  # fmt: skip
    if unsaved:
        event["unsaved"] = unsaved
    if stopped_by is not None:
        event["stopped_by"] = stopped_by
    return pack_event(event)
