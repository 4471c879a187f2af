"""The checkpoints of a session: list, find and name them, and fork sessions from them."""

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgpack

from skep.link import ShardLink
from skep_shared.broker.script_replies import ForkSource, ForkStatus, NameStatus
from skep_shared.broker.signatures import open_manifest
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import MANIFEST_FIELD, StoredManifest, unpack_content
from skep_shared.errors import InvalidArgument, NotFound, OperationFailed
from skep_shared.isolation.sandbox_tiers import check_tier
from skep_shared.limits import MAX_FORKS, MAX_NAMES, check_checkpoint_name, check_session_id
from skep_shared.signing import unsealed

PAGE_CHECKPOINTS: Final = 100
MAX_TRIES: Final = 3
_CHECKPOINT_ID: Final = re.compile(r"[1-9][0-9]{0,15}-[0-9]{1,9}|0-[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state: after the cell of `seq` (id `seq-0`), or later (`seq-1`, …: a process ended, or a file was added).

    names: its variables. lost: variables that could not be saved, with the reason. python: the version that saved it.
    name: the name it was given. bytes: size of the state before compression, shared parts counted once; None if
    unknown.
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
        raise InvalidArgument("checkpoint_id", checkpoint_id, "an id like '17-0' from checkpoints() is needed")
    return CheckpointId.parse(checkpoint_id)


async def find_checkpoint(link: ShardLink, session_id: str, which: str) -> CheckpointId:
    """Find a checkpoint by its id or its name.

    Raises InvalidArgument, NotFound, SignatureRefused for a name that was not given with a key, RedisUnavailable.
    """
    if isinstance(which, str) and _CHECKPOINT_ID.fullmatch(which):
        return check_checkpoint_id(which)
    key, name = link.keys.names(session_id), check_checkpoint_name(which)
    found = await link.persist(lambda: link.redis.execute_command("HGET", key, name))
    if found is None:
        raise NotFound("checkpoint", f"{name} of session {session_id}")
    checkpoint = CheckpointId.parse(found)
    if (signer := link.signer) is not None:
        session, field = link.keys.session(session_id), f"name:{name}"
        signature = await link.persist(lambda: link.redis.execute_command("HGET", session, field))
        text = (signature or b"").decode("ascii", "replace")
        signer.check_text("name", link.keys.full_id(session_id), name, str(checkpoint).encode(), text)
    return checkpoint


async def list_checkpoints(link: ShardLink, session_id: str) -> AsyncIterator[Checkpoint]:
    """Yield the stored checkpoints, oldest first. Raises RedisUnavailable, OperationFailed for an unreadable one."""
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
            yield _read(found, fields[MANIFEST_FIELD], is_head=is_head, name=names.get(found))
        if len(page) < PAGE_CHECKPOINTS:
            return
        start = f"({page[-1][0].decode()}"


def _read(checkpoint: CheckpointId, stored: bytes, *, is_head: bool, name: str | None) -> Checkpoint:
    try:
        content = unpack_content(unsealed(stored))
    except ValueError as exc:
        raise _unreadable(checkpoint, exc) from exc
    names = sorted(name for name in content.names if name.strip("_") and name != "__annotations__")
    size = content.state_bytes
    return Checkpoint(str(checkpoint), checkpoint.seq, is_head, tuple(names), content.lost, content.python, name, size)


async def name_checkpoint(link: ShardLink, session_id: str, checkpoint_id: str, name: str | None) -> None:
    """Name a checkpoint, or remove its name. Raises InvalidArgument, NotFound, RedisUnavailable."""
    checkpoint = check_checkpoint_id(checkpoint_id)
    text = "" if name is None else check_checkpoint_name(name)
    status, other = await link.persist(lambda: link.scripts.name(session_id, checkpoint, text))
    if status is NameStatus.UNKNOWN:
        raise NotFound("checkpoint", f"{checkpoint_id} of session {session_id}")
    if status is NameStatus.TAKEN:
        raise InvalidArgument("name", name, f"it is the name of checkpoint {other}; remove it there first")
    if status is NameStatus.FULL:
        raise InvalidArgument(
            "name", name, f"a session may have {MAX_NAMES} named checkpoints, and this one has that many"
        )


async def fork_session(
    link: ShardLink, session_id: str, new_ids: Sequence[str], at: str | None, sandbox: str | None
) -> None:
    """Create sessions from a checkpoint (default: the latest) of another, all or none; no chunk is copied.

    sandbox: the weakest tier that they may have (default: the source's). Raises InvalidArgument for ids that are in use
    and for a weaker sandbox than the source's, NotFound, SignatureRefused for a checkpoint that is not signed,
    OperationFailed, RedisFull, RedisUnavailable.
    """
    if not 1 <= len(new_ids) <= MAX_FORKS or len(set(new_ids)) < len(new_ids):
        raise InvalidArgument("ids", new_ids, f"1 to {MAX_FORKS} ids are needed, each once")
    for new_id in new_ids:
        check_session_id(new_id)
    tier = None if sandbox is None else check_tier(sandbox).value
    token = secrets.token_hex(8)
    for _ in range(MAX_TRIES):
        source, manifest, stored = await _find_source(link, session_id, at)
        options = b"" if tier is None else _with_sandbox(stored, tier)
        fork = partial(link.scripts.fork, source, new_ids, manifest, token, options)
        status, found = await link.persist(fork)
        if status is ForkStatus.OK:
            return
        if status is ForkStatus.WEAKER:
            limit = f"session {session_id!r} asks for at least {found[0]}, and a fork of it can't ask for less"
            raise InvalidArgument("sandbox", sandbox, limit)
        if status is ForkStatus.EXISTS:
            raise InvalidArgument(
                "new_id", found[0] if len(found) == 1 else found, "a session with this id exists already"
            )
        # The checkpoint was pruned between the two calls. If none was named, the latest one is another by now.
    raise OperationFailed(f"checkpoint {at or 'head'} of session {session_id!r} was pruned before it could be forked")


def _with_sandbox(options: bytes, sandbox: str) -> bytes:
    """Return packed options with another sandbox. The rest is not read: it may be of a newer version of skep."""
    fields: dict[str, object] = msgpack.unpackb(options) if options else {}
    packed: bytes = msgpack.packb(fields | {"sandbox": sandbox})
    return packed


async def _find_source(link: ShardLink, session_id: str, at: str | None) -> tuple[ForkSource, bytes, bytes]:
    """Return the checkpoint, its manifest for forks, and the packed options of its session."""
    fields = ("state", "head", "created_at", "purged", "options")
    session, key = link.keys.session(session_id), link.keys.checkpoints(session_id)
    found = await link.persist(lambda: link.redis.execute_command("HMGET", session, *fields))
    state, head, created, purged, options = found
    if state is None or purged is not None:
        raise NotFound("session", session_id)
    checkpoint = CheckpointId.parse(head or b"0") if at is None else await find_checkpoint(link, session_id, at)
    entry_id = str(checkpoint)
    entries = await link.persist(lambda: link.redis.xrange(key, entry_id, entry_id))
    if not entries:
        raise NotFound("checkpoint", f"{checkpoint} of session {session_id}")
    # Checked, as the new sessions' manifests are signed by this client.
    packed = open_manifest(link.signer, link.keys.full_id(session_id), checkpoint, entries[0][1][MANIFEST_FIELD])
    try:
        manifest = StoredManifest.unpack(packed).for_fork().pack()
    except ValueError as exc:
        raise _unreadable(checkpoint, exc) from exc
    return ForkSource(session_id, int(created or 0), checkpoint), manifest, options or b""


def _unreadable(checkpoint: CheckpointId, exc: ValueError) -> OperationFailed:
    return OperationFailed(f"checkpoint {checkpoint} can't be read: {exc}")
