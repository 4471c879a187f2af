"""What the models of the scripts share: how stored fields are read, and the seeded bugs."""

import re
from typing import Any

import msgpack

from skep_shared.isolation.sandbox_tiers import Tier, is_as_strong

from .memory_redis import MemoryRedis

SEEDED_BUGS = (
    "emit without fence",
    "commit without fence",
    "commit in two steps",
    "no event id check",
    "submit not idempotent",
    "no cursor compare",
    "what a cell runs after not stored",
)
# Workers send such a session elsewhere before they claim it, so without this check nothing happens to most of them.
CLAIM_BUG = "claim in a weaker sandbox"
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

    def _enqueue_job(self, prefix: bytes, job_id: bytes, job: bytes, due: int, lifetime: int) -> None:
        r, wake = self.redis, prefix + b":arq:wake"
        r.psetex(b"arq:job:" + job_id, lifetime, job)
        r.zadd(prefix + b":arq", due, job_id)
        r.lpush(wake, b"1")
        r.ltrim(wake, 99)
        r.pexpire(wake, 60_000)

    def _enqueue_activation(self, prefix: bytes, sid: bytes) -> None:
        now = self.redis.clock()
        job = {"f": "activate", "a": [], "k": {"session_id": sid.decode()}, "t": 0, "et": now}
        job_id = b"%s:activate:%s:%d-%d" % (prefix, sid, now // 1000, now % 1000 * 1000)
        self._enqueue_job(prefix, job_id, msgpack.packb(job), now - 86_400_000, 3_600_000)

    def _has_chunks(self, blobs: bytes, chunks: list[bytes]) -> bool:
        stored = self.redis.get(blobs) or {}
        return all(data or name in stored for name, data in zip(chunks[::2], chunks[1::2], strict=True))

    def _put_chunks(self, blobs: bytes, chunks: list[bytes]) -> None:
        for name, data in zip(chunks[::2], chunks[1::2], strict=True):
            if data:
                self.redis.hset(blobs, {name: data})


def option_in(options: bytes | None, name: str) -> Any:
    """Return an option of packed ones; None if it is not stored, or if they can't be read."""
    try:
        fields = msgpack.unpackb(options or b"\x80")
    except ValueError:
        return None
    return fields.get(name) if isinstance(fields, dict) else None


def sandbox_in(options: bytes | None) -> bytes:
    """Return the tier that packed options ask for; options that can't be read ask for none."""
    return str(option_in(options, "sandbox") or Tier.NONE).encode()


def is_weaker(tier: bytes, wanted: bytes) -> bool:
    """Return whether a tier of the sandbox is weaker than the wanted one."""
    return not is_as_strong(tier.decode(), wanted.decode())


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
