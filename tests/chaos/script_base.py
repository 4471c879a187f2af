"""What the models of the scripts share: how stored fields are read, and the seeded bugs."""

import re
from typing import Any

from .memory_redis import MemoryRedis

SEEDED_BUGS = (
    "emit without fence",
    "commit without fence",
    "commit in two steps",
    "no event id check",
    "submit not idempotent",
    "no cursor compare",
)
# Not a bug that can be seen: with fence and event ids in place, comparing the cursor too is a second lock on one door.
EQUIVALENT_BUG = "cursor compare alone left out"

Reply = list[Any]
PENDING = re.compile(rb"^p:(\d+):(.*)$", re.DOTALL)
_DONE = re.compile(rb"^d:(\d+):(\d+):(\d+)$")


class ScriptBase:
    """One server's data, and how its scripts look at it."""

    def __init__(self, redis: MemoryRedis, bugs: frozenset[str] = frozenset()) -> None:
        self.redis = redis
        self.bugs = bugs

    def _is_stale(self, h: list[bytes | None], token: bytes, epoch: bytes) -> bool:
        return h[0] != token or h[1] != epoch

    def _post(self, marker: bytes, *flat: Any) -> None:
        self.redis.xadd(marker + b":mailbox", None, *flat)

    def _has_chunks(self, blobs: bytes, chunks: list[bytes]) -> bool:
        stored = self.redis.get(blobs) or {}
        return all(data or name in stored for name, data in zip(chunks[::2], chunks[1::2], strict=True))

    def _put_chunks(self, blobs: bytes, chunks: list[bytes]) -> None:
        for name, data in zip(chunks[::2], chunks[1::2], strict=True):
            if data:
                self.redis.hset(blobs, {name: data})


def int_of(value: bytes | None) -> int:
    """Read a field that counts; one that is missing is 0."""
    return int(value or 0)


def entry_of(checkpoint: bytes) -> bytes:
    """Return the id that a checkpoint has in its stream."""
    return checkpoint if b"-" in checkpoint else checkpoint + b"-0"


def origins_of(text: bytes | None) -> list[tuple[bytes, bytes, bytes]]:
    """Read the sessions that one was forked from: name, checkpoint, when it was born."""
    return [(name, pinned, born) for name, pinned, born in (part.split(b":") for part in (text or b"").split())]


def done_of(entry: bytes) -> tuple[bytes, ...]:
    """Read the place of a cell that has ended."""
    found = _DONE.match(entry)
    assert found is not None, entry
    return found.groups()
