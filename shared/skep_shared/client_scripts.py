"""The scripts that clients of a session call, as typed functions: its cells, its owner, its names and forks."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from skep_shared.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.limits import MAX_NAMES
from skep_shared.script_replies import (
    Closed,
    Controlled,
    ControlStatus,
    ForkSource,
    ForkStatus,
    NameStatus,
    Placed,
    SubmitStatus,
    Submitted,
    Watched,
)
from skep_shared.script_source import ScriptCalls, load_scripts

INLINE_BODY_BYTES: Final = 16 * 1024
INLINE_CELLS: Final = 16  # of one submit


class ClientScripts(ScriptCalls):
    """What whoever has a session's id may ask of it. All methods raise what the driver raises when Redis is away."""

    sources = load_scripts("submit", "watch", "control", "close", "purge", "name", "fork", "open")

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

    async def control(
        self,
        session_id: str,
        kind: str,
        *,
        cell_id: str = "",
        about: Literal["cell", "process", "stay"] = "cell",
        fields: Mapping[str, str | bytes | int] | None = None,
    ) -> Controlled:
        """Send a request to the session's owner: about a cell ('' = the one that runs), its process or its stay."""
        k = self.keys
        keys = (k.session(session_id), k.ids(session_id), k.waiting)
        args: list[str | bytes | int] = [k.prefix, session_id, kind, cell_id, about]
        for name, value in (fields or {}).items():
            args += (name, value)
        reply = await self._call("control", keys, args)
        status = ControlStatus(reply[0].decode())
        owner = reply[1].decode() if status is ControlStatus.OK else ""
        return Controlled(status, needs_activation=reply[1:] == [1], owner=owner)

    async def open(self, session_id: str, options: bytes) -> bool:
        """Make a session without cells; False if there is one of this id."""
        k = self.keys
        reply = await self._call("open", (k.session(session_id), k.sessions), (session_id, options))
        return bool(reply[0] == b"OK")

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

    async def name(self, session_id: str, checkpoint: CheckpointId, name: str) -> tuple[NameStatus, CheckpointId]:
        """Name a checkpoint ('': no name); with TAKEN return the one that has the name."""
        k, sid = self.keys, session_id
        keys = (k.session(sid), k.checkpoints(sid), k.names(sid))
        reply = await self._call("name", keys, (checkpoint.stored, name, MAX_NAMES))
        status = NameStatus(reply[0].decode())
        return status, CheckpointId.parse(reply[1]) if status is NameStatus.TAKEN else NO_CHECKPOINT

    async def fork(
        self, source: ForkSource, new_ids: Sequence[str], manifest: bytes, token: str
    ) -> tuple[ForkStatus, list[str]]:
        """Make sessions of a checkpoint, all or none; `token` is random, one per request. Gives the ids that exist."""
        k, sid = self.keys, source.session_id
        keys = [k.session(sid), k.checkpoints(sid), k.pins(sid), k.sessions]
        for new_id in new_ids:
            keys += (k.session(new_id), k.checkpoints(new_id))
        reply = await self._call(
            "fork", keys, (k.prefix, sid, source.created_at, source.checkpoint.stored, token, manifest, *new_ids)
        )
        return ForkStatus(reply[0].decode()), [taken.decode() for taken in reply[1:]]
