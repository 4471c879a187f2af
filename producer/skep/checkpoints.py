"""Time travel: the checkpoints of a session, their names, and new sessions made from them."""

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from skep.link import ShardLink
from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed
from skep_shared.limits import MAX_FORKS, MAX_NAMES, check_checkpoint_name, check_session_id
from skep_shared.manifests import chunks_of, for_fork, read_manifest, state_bytes
from skep_shared.script_replies import ForkSource, ForkStatus, NameStatus

PAGE_CHECKPOINTS: Final = 100
MAX_TRIES: Final = 3
_CHECKPOINT_ID: Final = re.compile(r"[1-9][0-9]{0,15}-[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after the cell of `seq`, or (`seq-1`, …) what a process had when it left its worker after that cell.

    names: its variables. lost: those that it could not save, and why. python: who saved it. name: what it was named.
    bytes: size of the state before compression, what it holds twice counted once; None if it is not known.
    """

    id: str
    seq: int
    is_head: bool
    names: tuple[str, ...]
    lost: dict[str, str]
    python: str
    name: str | None = None
    bytes: int | None = None


def check_checkpoint_id(checkpoint_id: object) -> CheckpointId:
    """Read the id of a checkpoint. Raises InvalidArgument."""
    if not isinstance(checkpoint_id, str) or not _CHECKPOINT_ID.fullmatch(checkpoint_id):
        raise InvalidArgument("checkpoint_id", checkpoint_id, "an id like '17-0' is needed, as checkpoints() gives")
    return CheckpointId.parse(checkpoint_id)


async def find_checkpoint(link: ShardLink, session_id: str, which: str) -> CheckpointId:
    """Find a checkpoint by its id or its name. Raises InvalidArgument, NotFound, RedisUnavailable."""
    if isinstance(which, str) and _CHECKPOINT_ID.fullmatch(which):
        return check_checkpoint_id(which)
    key, name = link.keys.names(session_id), check_checkpoint_name(which)
    found = await link.persist(lambda: link.redis.execute_command("HGET", key, name))
    if found is None:
        raise NotFound("checkpoint", f"{name} of session {session_id}")
    return CheckpointId.parse(found)


async def list_checkpoints(link: ShardLink, session_id: str) -> AsyncIterator[Checkpoint]:
    """Yield the checkpoints that are kept, oldest first. Raises RedisUnavailable."""
    session, names_key, key = (make(session_id) for make in (link.keys.session, link.keys.names, link.keys.checkpoints))
    head = await link.persist(lambda: link.redis.execute_command("HGET", session, "head"))
    named = await link.persist(lambda: link.redis.execute_command("HGETALL", names_key))
    names = {CheckpointId.parse(stored): name.decode() for name, stored in named.items()}
    start = "-"
    while True:
        first = start
        page = await link.persist(lambda: link.redis.xrange(key, first, "+", count=PAGE_CHECKPOINTS))  # noqa: B023
        for entry_id, fields in page:
            found = CheckpointId.parse(entry_id)
            is_head = head is not None and found == CheckpointId.parse(head)
            yield _read(found, fields[b"m"], is_head=is_head, name=names.get(found))
        if len(page) < PAGE_CHECKPOINTS:
            return
        start = f"({page[-1][0].decode()}"


def _read(checkpoint: CheckpointId, manifest: bytes, *, is_head: bool, name: str | None) -> Checkpoint:
    raw = read_manifest(manifest)
    names = [name for group in raw["groups"] for name in group["names"]]
    if raw["definitions"] is not None:
        names += raw["definitions"]["names"]
    names = sorted(name for name in {*names, *raw["bindings"]} if name.strip("_") and name != "__annotations__")
    size = state_bytes(chunks_of(raw))
    return Checkpoint(str(checkpoint), checkpoint.seq, is_head, tuple(names), raw["lost"], raw["python"], name, size)


async def name_checkpoint(link: ShardLink, session_id: str, checkpoint_id: str, name: str | None) -> None:
    """Give a checkpoint a name, or take its name away. Raises InvalidArgument, NotFound, RedisUnavailable."""
    checkpoint = check_checkpoint_id(checkpoint_id)
    text = "" if name is None else check_checkpoint_name(name)
    status, other = await link.persist(lambda: link.scripts.name(session_id, checkpoint, text))
    if status is NameStatus.UNKNOWN:
        raise NotFound("checkpoint", f"{checkpoint_id} of session {session_id}")
    if status is NameStatus.TAKEN:
        raise InvalidArgument("name", name, f"it is the name of checkpoint {other}, from which it can be taken away")
    if status is NameStatus.FULL:
        raise InvalidArgument("name", name, f"a session may have {MAX_NAMES} named checkpoints, and this one has")


async def fork_session(link: ShardLink, session_id: str, new_ids: Sequence[str], at: str | None) -> None:
    """Make sessions from a checkpoint (default: the latest) of another, all or none; no chunk is copied.

    Raises InvalidArgument for ids that are taken, NotFound, OperationFailed, RedisFull, RedisUnavailable.
    """
    if not 1 <= len(new_ids) <= MAX_FORKS or len(set(new_ids)) < len(new_ids):
        raise InvalidArgument("ids", new_ids, f"1 to {MAX_FORKS} ids are needed, each once")
    for new_id in new_ids:
        check_session_id(new_id)
    token = secrets.token_hex(8)
    for _ in range(MAX_TRIES):
        source, manifest = await _find_source(link, session_id, at)
        status, taken = await link.persist(lambda: link.scripts.fork(source, new_ids, manifest, token))  # noqa: B023
        if status is ForkStatus.OK:
            return
        if status is ForkStatus.EXISTS:
            raise InvalidArgument("new_id", taken[0] if len(taken) == 1 else taken, "no such session may exist yet")
        # Pruned between the two calls; the latest one is another by now.
    raise OperationFailed(f"checkpoint {at or 'head'} of session {session_id!r} was pruned before it could be forked")


async def _find_source(link: ShardLink, session_id: str, at: str | None) -> tuple[ForkSource, bytes]:
    fields = ("state", "head", "created_at", "purged")
    session, key = link.keys.session(session_id), link.keys.checkpoints(session_id)
    state, head, created, purged = await link.persist(lambda: link.redis.execute_command("HMGET", session, *fields))
    if state is None or purged is not None:
        raise NotFound("session", session_id)
    checkpoint = CheckpointId.parse(head or b"0") if at is None else await find_checkpoint(link, session_id, at)
    entry_id = str(checkpoint)
    found = await link.persist(lambda: link.redis.xrange(key, entry_id, entry_id))
    if not found:
        raise NotFound("checkpoint", f"{checkpoint} of session {session_id}")
    return ForkSource(session_id, int(created or 0), checkpoint), for_fork(found[0][1][b"m"])
