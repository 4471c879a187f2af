"""Read the stored data at the end of a soak, without the links, and the workers' logs."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgpack
from redis.asyncio import Redis

from skep_shared.broker.keys import Keys
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.values import decode_value

from ..checker.history import History
from .soak_clients import stored_content

KEYS = Keys()
PAGE = 1000
EXPECTED = (
    "Unclosed Pipeline",  # redis-py, of a pipeline whose reset has met a broken connection
    "worker.failed",  # its end is noted by itself
    "checkpoint.damaged",  # the event is an anomaly; an owner that was stopped may report what the next one has pruned
)


async def read_session(redis: Redis, session: str, history: History) -> dict[str, Any]:
    """Add the stored data of a session to the history, and return its `final` without the checkpoint's state."""
    execute: Callable[..., Awaitable[Any]] = redis.execute_command
    pairs = await execute("HGETALL", KEYS.session(session))
    fields = {name.decode(): value for name, value in pairs.items()}
    if not fields:
        return {}
    last, start = int(fields.get("last", 0)), "-"
    while page := await execute("XRANGE", KEYS.events(session), start, f"{last}-0", "COUNT", PAGE):
        for entry_id, stored in page:
            _add_event(history, session, int(entry_id.partition(b"-")[0]), stored[b"e"])
        start = f"({page[-1][0].decode()}"
    for cell, entry in (await execute("HGETALL", KEYS.ids(session))).items():
        history.add({"op": "place", "session": session, "cell": cell.decode(), "entry": entry.decode()})
    head = CheckpointId.parse(fields.get("head", b"0"))
    return {
        "op": "final", "session": session, "seq": int(fields["seq"]), "cursor": int(fields["cursor"]),
        "last": last, "epoch": int(fields["epoch"]), "state": fields["state"].decode(), "head": str(head) if head else "",
        "missing": await _missing(redis, session, head),
    }  # fmt: skip


async def _missing(redis: Redis, session: str, head: CheckpointId) -> int:
    """Count the missing chunks of the head's manifest; 1 if there is no manifest."""
    if not head:
        return 0
    found = await redis.execute_command("XRANGE", KEYS.checkpoints(session), str(head), str(head))
    if not found:
        return 1
    names = [chunk.name for chunk in StoredManifest.unpack(found[0][1][b"m"]).chunks]
    chunks = await redis.execute_command("HMGET", KEYS.blobs(session), *names) if names else []
    return sum(chunk is None for chunk in chunks)


def _add_event(history: History, session: str, number: int, packed: bytes) -> None:
    """Add an event with the value of a cell's result, and with the content that readers received."""
    history.add_event(session, number, packed)
    op = history.ops[-1]
    op["digest"] = stored_content(session, number, packed)
    if "value" in op:
        value = decode_value(msgpack.unpackb(packed)["data"])
        op["value"] = list(value) if isinstance(value, tuple) else value


def complaints(path: Path, *, zygote_kills: int) -> list[str]:
    """Return the unexpected lines of a worker's log: errors, and lines that are no log lines.

    A zygote that is killed while it starts is reported as an error, so as many such reports are expected as kills.
    """
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line)
            continue
        is_bad = entry["level"] in {"error", "critical"} or "never retrieved" in entry["event"]
        if entry["event"] == "zygote.start_failed" and "it died" in entry["error"] and zygote_kills > 0:
            zygote_kills -= 1
        elif is_bad and not entry["event"].startswith(EXPECTED):
            found.append(line)
    return found
