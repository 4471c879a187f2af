"""Packed events as clients read them: into objects, outcomes, transcripts and the lines of the command."""

from collections.abc import Iterable
from typing import ClassVar

import msgpack

from skep.outcome import fold_outcome
from skep.transcript import SessionFold
from skep_shared.event_codec import pack_event, unpack_event, unpack_events
from skep_shared.events import Event

from ..target import Finding, as_bytes, unpack_input

HEAD = {"cell_id": "c1", "seq": 1, "attempt": 1, "epoch": 1, "at": 1_700_000_000_000}
CELL = [
    {"kind": "cell.queued", "code": "1", "labels": {"a": "b"}},
    {"kind": "cell.started"},
    {"kind": "output", "stream": "stdout", "text": "a\rb\n"},
    {"kind": "display", "bundle": {"text/plain": "x"}, "display_id": "d", "updates": False},
    {"kind": "display", "bundle": {"text/plain": "y", "image/png": b"\x89"}, "display_id": "d", "updates": True},
    {"kind": "output.cleared", "waits": True},
    {"kind": "output.truncated", "limit_bytes": 1024},
    {"kind": "input.requested", "request": 1, "prompt": "? ", "is_password": False},
    {"kind": "input.answered", "request": 1, "text": "a"},
    {"kind": "result", "bundle": {"text/plain": "1"}, "data": b"\x01"},
    {"kind": "error", "ename": "E", "evalue": "v", "traceback": "t"},
    {"kind": "warning", "category": "c", "message": "m"},
    {"kind": "cell.retried", "reason": "r"},
    {
        "kind": "cell.finished",
        "status": "finished",
        "queued_ms": 1.0,
        "run_ms": 2,
        "commit_ms": 0.5,
        "checkpoint": "1-0",
    },
]
SESSION = [
    {"kind": "session.started", "worker_id": "w", "python": "3.11"},
    {"kind": "session.restored", "worker_id": "w", "python": "3", "checkpoint": "1-0", "lost": {"a": "b"}, "notes": ["n"], "is_live": True},
    {"kind": "session.moved", "worker_id": "w", "from_worker_id": "v", "reason": "r"},
    {"kind": "session.hibernated", "worker_id": "w", "reason": "idle", "tasks": ["t"], "notes": ["n"]},
    {"kind": "session.rolled_back", "checkpoint": "1-0", "from_checkpoint": "2-0"},
    {"kind": "checkpoint.partial", "checkpoint": "1-0", "lost": {"a": "b"}},
    {"kind": "checkpoint.failed", "after": 3, "reason": "r"},
    {"kind": "checkpoint.saved", "checkpoint": "1-0"},
    {"kind": "session.closed"},
]  # fmt: skip


class Events:
    """Operations: the packed events of a session, in order. Other inputs are one event."""

    name: ClassVar[str] = "events"

    def close(self) -> None:
        """Nothing is open."""

    def seeds(self) -> Iterable[object]:
        """Yield a cell's events, those of a session, and each alone."""
        cell = [pack_event(event | HEAD) for event in CELL]
        session = [pack_event(event | {"epoch": 1, "at": 1_700_000_000_000}) for event in SESSION]
        yield cell
        yield session
        yield cell + session
        yield from cell + session

    def execute(self, data: bytes) -> None:
        """Read events as readers of a stream and as readers of a reply do, and fold them."""
        operations = unpack_input(data)
        packed = [data] if operations is None else [_packed(each) for each in operations]
        read: list[Event] = []
        for number, each in enumerate(packed, start=1):
            try:
                event = unpack_event("s", f"{number}-0", each)
            except ValueError:
                continue
            [again] = unpack_events("s", number, [each])
            if repr(again) != repr(event):
                raise Finding(f"read alone and in a batch, an event differs: {event!r}, {again!r}")
            read.append(event)
        fold = SessionFold("s")
        for event in read:
            fold.add(event)
        for cell in fold.cells():
            if cell.finished is not None and cell.finished.seq is not None:
                fold_outcome("s", cell.cell_id, read)


def _packed(event: object) -> bytes:
    if isinstance(event, dict):
        packed: bytes = msgpack.packb(event, unicode_errors="surrogatepass")
        return packed
    return as_bytes(event)
