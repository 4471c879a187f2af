"""What happened, as JSON lines: what the checker reads, from a simulation or from real parts alike.

The first line is the `meta` of the run; each other one an operation by its `op`:

| op | fields |
|---|---|
| submit | client, session, cell, status (ok, fail, unknown), seq (ok), from, to (ms), lines, kind of the cell, after (the cell that has to succeed before; optional), sandbox (the tier that the session asks for; optional) |
| read | reader, session, id, digest: an event that a reader has seen, in the order of reading |
| reader | reader, session, after: where it began |
| event | session, id, digest, kind, epoch, at, and cell, seq, attempt, text, status, stopped_by, category, after, checkpoint, value where it has them: what is stored at the end |
| final | session, seq, cursor, last, epoch, state, head, checkpoint (the oracle's (n, h)), missing (chunks the head names that are not there) |
| place | session, cell, entry: what is known about a cell id at the end (`d:seq:first:last`) |
| claim | session, worker, epoch, cursor, last, losses, previous, at, sandbox (the worker's tier; optional): a change of owner (optional) |
| close | session, state |
| fault | kind, node, at, seconds, text |
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack

Op = dict[str, Any]


def digest(packed: bytes) -> str:
    """Return a short name of an event's content."""
    return hashlib.blake2b(packed, digest_size=8).hexdigest()


class History:
    """One run's operations."""

    def __init__(self, meta: Op, ops: Iterable[Op] = ()) -> None:
        self.meta = meta
        self.ops = list(ops)

    def add(self, op: Op) -> None:
        """Add the next operation."""
        self.ops.append(op)

    def add_event(self, session: str, number: int, packed: bytes) -> None:
        """Add an event as it is stored."""
        event = msgpack.unpackb(packed)
        op = {
            "op": "event", "session": session, "id": number, "digest": digest(packed), "kind": event["kind"],
            "epoch": event["epoch"], "at": event["at"],
        }  # fmt: skip
        if "cell_id" in event:
            op |= {"cell": event["cell_id"], "seq": event["seq"], "attempt": event["attempt"]}
        for name in ("text", "status", "category", "stopped_by", "after", "checkpoint"):
            if name in event:
                op[name] = event[name]
        if event.get("data") is not None:
            op["value"] = msgpack.unpackb(event["data"])
        self.ops.append(op)

    def save(self, path: Path) -> None:
        """Write it."""
        with path.open("w") as out:
            for op in ({"op": "meta", **self.meta}, *self.ops):
                out.write(json.dumps(op, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> "History":
        """Read it."""
        with path.open() as lines:
            meta, *ops = (json.loads(line) for line in lines)
        return cls({name: value for name, value in meta.items() if name != "op"}, ops)
