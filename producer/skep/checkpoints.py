"""Time travel: the checkpoints of a session, and new sessions made from them."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import msgpack

from skep.link import ShardLink
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed

PAGE_CHUNKS: Final = 8
PAGE_CHECKPOINTS: Final = 100
MAX_TRIES: Final = 3
_CHECKPOINT_ID: Final = re.compile(r"([1-9][0-9]{0,15})-0")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after the cell of `seq`. lost: variables that it could not save, and why. python: who saved it."""

    id: str
    seq: int
    is_head: bool
    names: tuple[str, ...]
    lost: dict[str, str]
    python: str


def check_checkpoint_id(checkpoint_id: object) -> int:
    """Give the seq of `seq-0`. Raises InvalidArgument."""
    found = _CHECKPOINT_ID.fullmatch(checkpoint_id) if isinstance(checkpoint_id, str) else None
    if found is None:
        raise InvalidArgument("checkpoint_id", checkpoint_id, "an id like '17-0' is needed, as checkpoints() gives")
    return int(found[1])


async def list_checkpoints(link: ShardLink, session_id: str) -> AsyncIterator[Checkpoint]:
    """Yield the checkpoints that are kept, oldest first. Raises RedisUnavailable."""
    head = await link.persist(lambda: link.redis.execute_command("HGET", link.keys.session(session_id), "head"))
    start = "-"
    while True:
        first = start
        key = link.keys.checkpoints(session_id)
        page = await link.persist(lambda: link.redis.xrange(key, first, "+", count=PAGE_CHECKPOINTS))  # noqa: B023
        for entry_id, fields in page:
            yield _read(entry_id.decode(), fields[b"m"], int(head or 0))
        if len(page) < PAGE_CHECKPOINTS:
            return
        start = f"({page[-1][0].decode()}"


def _read(checkpoint_id: str, manifest: bytes, head: int) -> Checkpoint:
    raw = msgpack.unpackb(manifest, unicode_errors="surrogatepass")
    names = [name for group in raw["groups"] for name in group["names"]]
    if raw["definitions"] is not None:
        names += raw["definitions"]["names"]
    names = sorted(name for name in {*names, *raw["bindings"]} if name.strip("_"))
    seq = int(checkpoint_id.partition("-")[0])
    return Checkpoint(checkpoint_id, seq, seq == head, tuple(names), raw["lost"], raw["python"])


async def fork_session(link: ShardLink, session_id: str, new_id: str, at: str | None) -> None:
    """Make the session `new_id` from a checkpoint (default: the latest) of another.

    Raises InvalidArgument if `new_id` is taken, NotFound, OperationFailed, RedisUnavailable.
    """
    link_keys = link.keys
    for _ in range(MAX_TRIES):
        head, options = await link.persist(
            lambda: link.redis.execute_command("HMGET", link_keys.session(session_id), "head", "options")
        )
        if options is None:
            raise NotFound("session", session_id)
        seq = check_checkpoint_id(at) if at is not None else int(head or 0)
        key, entry = link_keys.checkpoints(session_id), f"{seq}-0"
        found = await link.persist(lambda: link.redis.xrange(key, entry, entry))  # noqa: B023
        if not found:
            raise NotFound("checkpoint", f"{entry} of session {session_id}")
        manifest = found[0][1][b"m"]
        blobs = msgpack.unpackb(manifest, unicode_errors="surrogatepass")["blobs"]
        for start in range(0, len(blobs), PAGE_CHUNKS):
            page = blobs[start : start + PAGE_CHUNKS]
            await link.persist(lambda: link.scripts.copy_blobs(session_id, new_id, page))  # noqa: B023
        status = await link.persist(lambda: link.scripts.fork(new_id, seq, manifest, options, blobs))  # noqa: B023
        if status == "OK":
            return
        if status == "EXISTS":
            raise InvalidArgument("new_id", new_id, "no session of this id may exist yet")
        # A chunk was pruned while it was copied: the checkpoint has gone, or the session has a newer one.
    raise OperationFailed(f"checkpoint {at or 'head'} of session {session_id!r} was pruned while it was copied")
