"""The Lua scripts as typed functions.

Each script's own head says what it reads, writes and promises; here its reply becomes an object. Every script may be
sent again after a lost reply. A script whose reply is one of its refusals raises nothing here unless no caller could go
on: what a refusal means is the caller's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from skep_shared.errors import EventGap, Fenced
from skep_shared.keys import Keys
from skep_shared.lane import Commands
from skep_shared.limits import MAX_NAMES
from skep_shared.manifests import Origin, read_origins
from skep_shared.script_source import load_script, run_script

SCRIPT_NAMES: Final = (
    "submit", "watch", "claim", "emit", "commit", "release",
    "heartbeat", "leave", "recover", "control", "close", "purge", "prune", "rehead", "confirm", "fork", "save",
    "name", "compare",
)  # fmt: skip

INLINE_BODY_BYTES: Final = 16 * 1024
INLINE_CELLS: Final = 16  # of one submit
INLINE_REPLY_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a cell stands: `first_event` and `final_event` once it has committed, None before."""

    seq: int
    first_event: int | None = None
    final_event: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a session is: last cell submitted, last committed, last event; and its owner's token."""

    seq: int
    cursor: int
    last: int
    token: str

    def is_behind(self, other: "Mark") -> bool:
        """Tell whether anything that the other has is missing here."""
        return self.seq < other.seq or self.cursor < other.cursor or self.last < other.last


class SubmitStatus(StrEnum):
    """What submit.lua answered."""

    OK = "OK"
    CLOSED = "CLOSED"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submit; `cells` in the order given, empty unless OK."""

    status: SubmitStatus
    last_event: int = 0
    needs_activation: bool = False
    pending: int = 0
    cells: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """Where a known cell stands, and the session's last event and cursor while it is pending."""

    cell: Placed
    last_event: int


class ClaimStatus(StrEnum):
    """What claim.lua answered."""

    OK = "OK"
    OWNED = "OWNED"
    NOT_ALIVE = "NOT_ALIVE"
    UNKNOWN = "UNKNOWN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a session, and where it stands; every write carries `token` and `epoch`.

    requests: (seq, "interrupt" or "cancel") that came for a cell, before or during an earlier stay. created_at: in ms,
    which tells the session from an earlier one of its id. origins: whose chunks it reads besides its own. said: (seq,
    attempt) that earlier owners have told of in events.
    """

    session_id: str
    token: str
    epoch: int
    cursor: int
    seq: int
    last_event: int
    losses: int
    previous_owner: str
    closing: bool
    options: bytes
    head: int
    requests: tuple[tuple[int, str], ...] = ()
    created_at: int = 0
    origins: tuple[Origin, ...] = ()
    said: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CellCommit:
    """One cell of a commit: the number of its first event, and those of its events that are not written yet.

    manifest: of the checkpoint after it, b"" if the one before still holds; blobs: chunks it names that are not stored;
    with b"" for its content one that was stored for its sake, and has to be there still.
    """

    cell_id: str
    first_event: int
    events: tuple[bytes, ...]
    manifest: bytes = b""
    blobs: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What prune.lua answered: `is_done`, or nothing was removed since a checkpoint among them must stay.

    protected: seqs that have a name or that a fork began from; unless done, the head's too.
    """

    is_done: bool
    chunks: int
    protected: frozenset[int]


class NameStatus(StrEnum):
    """What name.lua answered."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    TAKEN = "TAKEN"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class ForkSource:
    """A checkpoint to fork from. created_at: of its session, as read with it."""

    session_id: str
    created_at: int
    seq: int


class ForkStatus(StrEnum):
    """What fork.lua answered."""

    OK = "OK"
    MISSING = "MISSING"
    EXISTS = "EXISTS"


class ReleaseStatus(StrEnum):
    """What release.lua answered."""

    OK = "OK"
    DUP = "DUP"
    FENCED = "FENCED"
    GAP = "GAP"
    PENDING = "PENDING"


class ControlStatus(StrEnum):
    """What control.lua answered."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    IDLE = "IDLE"
    ABSENT = "ABSENT"
    KEPT = "KEPT"


@dataclass(frozen=True, slots=True)
class Controlled:
    """Where a request went."""

    status: ControlStatus
    needs_activation: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The answer to a close; `state` is UNKNOWN, CLOSED or CLOSING."""

    state: str
    last_event: int = 0
    needs_activation: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker hears. neglected: silent workers and forgotten sessions; next_ms: when the next one may be."""

    now_ms: int
    was_alive: bool
    neglected: int
    next_ms: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many dead workers a page showed, and which sessions want an owner."""

    dead: int
    waiting: tuple[str, ...] = ()


_SOURCES: Final = {name: load_script(name) for name in SCRIPT_NAMES}


class Scripts:
    """The scripts of one shard on one client. All methods raise what the driver raises when Redis is away."""

    def __init__(self, redis: Commands, keys: Keys) -> None:
        self._redis = redis
        self.keys = keys

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> list[Any]:
        return await run_script(self._redis, _SOURCES[name], keys, args)

    async def submit(
        self,
        session_id: str,
        cells: Sequence[tuple[str, bytes]],
        *,
        client_id: str = "",
        max_pending: int,
        options: bytes = b"",
    ) -> Submitted:
        """Append cells (id, packed CellSpec) in order, each id once; nothing is written unless all fit."""
        k = self.keys
        inline = (INLINE_BODY_BYTES, INLINE_CELLS)
        args: list[str | bytes | int] = [k.prefix, session_id, client_id, max_pending, options, *inline]
        for cell_id, body in cells:
            args += (cell_id, body)
        keys = (k.session(session_id), k.cells(session_id), k.ids(session_id), k.waiting, k.sessions)
        reply = await self._call("submit", keys, args)
        status = SubmitStatus(reply[0].decode())
        if status is SubmitStatus.FULL:
            return Submitted(status, pending=reply[1])
        if status is SubmitStatus.CLOSED:
            return Submitted(status)
        rest = iter(reply[3:])
        placed = tuple(
            Placed(next(rest)) if mark == b"p" else Placed(next(rest), next(rest), next(rest)) for mark in rest
        )
        return Submitted(status, last_event=reply[1], needs_activation=bool(reply[2]), cells=placed)

    async def watch(self, session_id: str, cell_id: str, *, client_id: str = "") -> Watched | None:
        """Find a cell and have its outcome sent to `client_id`; None if it is not known."""
        keys = (self.keys.session(session_id), self.keys.ids(session_id))
        reply = await self._call("watch", keys, (cell_id, client_id))
        if reply[0] == b"UNKNOWN":
            return None
        if reply[0] == b"PENDING":
            return Watched(Placed(reply[1]), reply[2])
        return Watched(Placed(reply[1], reply[2], reply[3]), reply[3])

    async def claim(
        self, session_id: str, worker_id: str, token: str, *, has_store: bool = False
    ) -> Claim | ClaimStatus:
        """Take a session that nobody alive owns. has_store: the worker may put chunks of it into a store."""
        k = self.keys
        keys = (k.session(session_id), k.waiting, k.worker(worker_id), k.owned(worker_id))
        reply = await self._call("claim", keys, (k.prefix, session_id, worker_id, token, int(has_store)))
        status = ClaimStatus(reply[0].decode())
        if status is not ClaimStatus.OK:
            return status
        epoch, cursor, seq, last, losses, previous, state, options, head, kept, created, origins, told = reply[1:]
        is_closing = state == b"closing"
        numbered = (request.partition(":") for request in kept.decode().split())
        requests = tuple((int(number), kind) for number, _, kind in numbered if int(number) > cursor)
        pairs = (pair.partition(":") for pair in told.decode().split())
        said = tuple((int(number), int(attempt)) for number, _, attempt in pairs if int(number) > cursor)
        return Claim(
            session_id, token, epoch, cursor, seq, last, losses, previous.decode(), is_closing, options, head, requests,
            int(created), read_origins(origins.decode()), said,
        )  # fmt: skip

    async def emit(self, claim: Claim, first_event: int, events: Sequence[bytes], *, said: str = "") -> int:
        """Append events from number `first_event` on; gives the last event. Raises Fenced, EventGap.

        said: which attempts of pending cells have been told of, as emit.lua says.
        """
        k, sid = self.keys, claim.session_id
        reply = await self._call(
            "emit", (k.session(sid), k.events(sid)), (claim.token, claim.epoch, first_event, said, *events)
        )
        _raise_refusal(reply, sid, first_event)
        last: int = reply[1]
        return last

    async def commit(
        self,
        claim: Claim,
        *,
        cursor: int,
        first_event: int,
        cells: Sequence[CellCommit],
        reply_ttl_ms: int,
        inline_bytes: int = INLINE_REPLY_BYTES,
    ) -> int:
        """Make the cells after `cursor` done; gives the last event. Raises Fenced, EventGap."""
        k, sid = self.keys, claim.session_id
        args: list[str | bytes | int] = [
            k.prefix, sid, claim.token, claim.epoch, cursor, first_event, reply_ttl_ms, inline_bytes,
        ]  # fmt: skip
        for cell in cells:
            args += (cell.cell_id, cell.first_event, len(cell.events), cell.manifest, len(cell.blobs), *cell.events)
            for blob in cell.blobs:
                args += blob
        keys = (k.session(sid), k.events(sid), k.cells(sid), k.ids(sid), k.checkpoints(sid), k.blobs(sid))
        reply = await self._call("commit", keys, args)
        _raise_refusal(reply, sid, first_event)
        last: int = reply[1]
        return last

    async def save(
        self,
        claim: Claim,
        seq: int,
        manifest: bytes,
        blobs: Sequence[tuple[bytes, bytes]] = (),
        *,
        is_void: bool = False,
    ) -> int:
        """Write the checkpoint after the committed cell of `seq`; gives the last cell that is saved.

        is_void: the cell had no effect, so it is saved if the one before it is. Raises Fenced, EventGap.
        """
        k, sid = self.keys, claim.session_id
        args: list[str | bytes | int] = [claim.token, claim.epoch, seq, manifest, "void" if is_void else ""]
        for blob in blobs:
            args += blob
        reply = await self._call("save", (k.session(sid), k.checkpoints(sid), k.blobs(sid)), args)
        _raise_refusal(reply, sid, seq)
        saved: int = reply[1]
        return saved

    async def prune(
        self, claim: Claim, seqs: Sequence[int], garbage: Sequence[bytes], *, number: int = 0, newest: int = 0
    ) -> Pruned:
        """Remove these checkpoints and the chunks that only they named, or nothing. Raises Fenced, EventGap.

        number: 1, 2 … for each request of an owner, so that one is done once however often it is sent. newest: the
        latest checkpoint that the owner knows.
        """
        k, sid = self.keys, claim.session_id
        keys = (k.session(sid), k.checkpoints(sid), k.blobs(sid), k.names(sid), k.pins(sid))
        reply = await self._call("prune", keys, (claim.token, claim.epoch, number, newest, len(seqs), *seqs, *garbage))
        _raise_refusal(reply, sid, 0)
        return Pruned(reply[0] == b"OK", reply[1], frozenset(reply[2:]))

    async def name(self, session_id: str, seq: int, name: str) -> tuple[NameStatus, int]:
        """Name a checkpoint ('': no name); gives with TAKEN the seq that has the name, with FULL how many there are."""
        k, sid = self.keys, session_id
        reply = await self._call("name", (k.session(sid), k.checkpoints(sid), k.names(sid)), (seq, name, MAX_NAMES))
        return NameStatus(reply[0].decode()), reply[1] if len(reply) > 1 else 0

    async def confirm(self, claim: Claim) -> int:
        """Take the owner's session off the waiting list; gives its last seq. Raises Fenced."""
        k, sid = self.keys, claim.session_id
        reply = await self._call("confirm", (k.session(sid), k.waiting), (sid, claim.token, claim.epoch, k.prefix))
        _raise_refusal(reply, sid, 0)
        seq: int = reply[1]
        return seq

    async def rehead(self, claim: Claim, cursor: int, seq: int) -> int | None:
        """Make an earlier checkpoint the state; gives the head before, None if unknown. Raises Fenced, EventGap."""
        k, sid = self.keys, claim.session_id
        reply = await self._call(
            "rehead", (k.session(sid), k.checkpoints(sid)), (claim.token, claim.epoch, cursor, seq)
        )
        _raise_refusal(reply, sid, cursor)
        return None if reply[0] == b"UNKNOWN" else int(reply[1])

    async def fork(
        self, source: ForkSource, new_ids: Sequence[str], manifest: bytes, token: str
    ) -> tuple[ForkStatus, list[str]]:
        """Make sessions of a checkpoint, all or none; `token` is random, one per request. Gives the ids that exist."""
        k, sid = self.keys, source.session_id
        keys = [k.session(sid), k.checkpoints(sid), k.pins(sid), k.sessions]
        for new_id in new_ids:
            keys += (k.session(new_id), k.checkpoints(new_id))
        reply = await self._call(
            "fork", keys, (k.prefix, sid, source.created_at, source.seq, token, manifest, *new_ids)
        )
        return ForkStatus(reply[0].decode()), [taken.decode() for taken in reply[1:]]

    async def release(
        self,
        claim: Claim,
        worker_id: str,
        *,
        closing_event: bytes = b"",
        first_event: int = 0,
        was_started: bool = False,
    ) -> int:
        """Give the session back, or end it with its closing event; gives the number of cells still pending.

        was_started: the first pending cell has been started here; its next start is another attempt. Raises Fenced,
        EventGap. With a closing event and pending cells nothing is done.
        """
        k, sid = self.keys, claim.session_id
        keys = (k.session(sid), k.owned(worker_id), k.waiting, k.events(sid))
        reply = await self._call(
            "release", keys, (sid, claim.token, claim.epoch, closing_event, first_event, int(was_started))
        )
        _raise_refusal(reply, sid, first_event)
        return 0 if reply[0] == b"DUP" else reply[1]

    async def heartbeat(self, worker_id: str, lease_ms: int, facts: bytes, *, patience_ms: int) -> Heartbeat:
        """Live another lease, and hear whether others don't."""
        keys = (self.keys.worker(worker_id), self.keys.workers, self.keys.waiting)
        args = (worker_id, lease_ms, facts, patience_ms)
        now, alive, neglected, next_ms = await self._call("heartbeat", keys, args)
        return Heartbeat(now, bool(alive), neglected, next_ms)

    async def leave(self, worker_id: str) -> int:
        """Stop being a worker; gives the number of sessions it still owned."""
        k = self.keys
        keys = (k.worker(worker_id), k.workers, k.mailbox(worker_id), k.owned(worker_id))
        left: int = (await self._call("leave", keys, (worker_id,)))[0]
        return left

    async def recover(self, *, silence_ms: int, page: int, patience_ms: int) -> Recovered:
        """Look at one page of dead workers and of waiting sessions."""
        k = self.keys
        reply = await self._call("recover", (k.workers, k.waiting), (k.prefix, silence_ms, page, patience_ms))
        return Recovered(reply[0], tuple(sid.decode() for sid in reply[1:]))

    async def compare(self, known: Mapping[str, Mark]) -> dict[str, tuple[Mark, bool]]:
        """Give how far those sessions are that are not where they are known to be, and whether they are closing.

        A session that is closing is given in any case.
        """
        ids = list(known)
        args: list[str | bytes | int] = []
        for mark in known.values():
            args += (mark.seq, mark.cursor, mark.last, mark.token)
        reply = await self._call("compare", [self.keys.session(sid) for sid in ids], args)
        return {
            ids[place - 1]: (Mark(seq, cursor, last, token.decode()), state == b"closing")
            for place, seq, cursor, last, token, state in reply
        }

    async def control(
        self,
        session_id: str,
        kind: str,
        *,
        cell_id: str = "",
        about: Literal["cell", "process"] = "cell",
        fields: Mapping[str, str | bytes | int] | None = None,
    ) -> Controlled:
        """Send a request to the session's owner: about a cell ('' = the one that runs then) or its process."""
        k = self.keys
        keys = (k.session(session_id), k.ids(session_id), k.waiting)
        args: list[str | bytes | int] = [k.prefix, session_id, kind, cell_id, about]
        for name, value in (fields or {}).items():
            args += (name, value)
        reply = await self._call("control", keys, args)
        return Controlled(ControlStatus(reply[0].decode()), needs_activation=reply[1:] == [1])

    async def close(self, session_id: str) -> Closed:
        """Take no more cells, and end the session at once if nothing is pending and nobody owns it."""
        k = self.keys
        keys = (k.session(session_id), k.events(session_id), k.waiting)
        reply = await self._call("close", keys, (k.prefix, session_id))
        return Closed(reply[0].decode(), *reply[1:2], *(bool(flag) for flag in reply[2:]))

    async def purge(self, session_id: str) -> bool:
        """Remove a closed session, but for what its forks still read; False if it is not closed."""
        k, sid = self.keys, session_id
        keys = (
            k.session(sid), k.cells(sid), k.ids(sid), k.events(sid), k.sessions, k.waiting,
            k.checkpoints(sid), k.blobs(sid), k.names(sid), k.pins(sid), k.purged,
        )  # fmt: skip
        reply = await self._call("purge", keys, (k.prefix, sid))
        return bool(reply[0] == b"OK")


def _raise_refusal(reply: list[Any], session_id: str, expected: int) -> None:
    if reply[0] == b"FENCED":
        raise Fenced(session_id, reply[1])
    if reply[0] == b"GAP":
        raise EventGap(session_id, expected, reply[1])
