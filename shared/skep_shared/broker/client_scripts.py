"""The scripts that clients call, as typed functions: cells, requests to owners, checkpoint names, forks."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from skep_shared.broker.mailbox_entries import Field, RequestKind, UpdateSession
from skep_shared.broker.script_replies import (
    Closed,
    Controlled,
    ControlStatus,
    ExceededQuota,
    ForkSource,
    ForkStatus,
    NameStatus,
    Opened,
    Placed,
    SubmitStatus,
    Submitted,
    UpdateStatus,
    Watched,
)
from skep_shared.broker.script_source import ScriptCalls, load_scripts
from skep_shared.broker.signatures import manifest_seal, request_signature
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.limits import MAX_NAMES

INLINE_BODY_BYTES: Final = 16 * 1024
INLINE_CELLS: Final = 16  # of one submit


class ClientScripts(ScriptCalls):
    """The scripts of clients; session ids are those within the scope of `keys`.

    All methods raise the driver's errors when Redis can't be reached.
    """

    sources = load_scripts("submit", "watch", "control", "close", "purge", "name", "fork", "open", "defer", "update")

    async def submit(
        self,
        session_id: str,
        cells: Sequence[tuple[str, bytes]],
        *,
        client_id: str = "",
        max_pending: int,
        options: bytes = b"",
        is_chain: bool = False,
    ) -> Submitted:
        """Append cells (id, packed CellSpec) in order, each id once; nothing is written unless all fit.

        In the same step an activation is queued for a session that begins to wait.

        is_chain: each cell runs only after the one before it, so a known cell must not follow a new one.
        """
        k, signer = self.keys, self.signer
        sid = k.full_id(session_id)
        if signer is not None:
            cells = [(cell_id, signer.seal("cell", sid, cell_id, body)) for cell_id, body in cells]
        inline = (INLINE_BODY_BYTES, INLINE_CELLS)
        args: list[str | bytes | int] = [k.prefix, sid, client_id, max_pending, options, *inline, int(is_chain)]
        for cell_id, body in cells:
            args += (cell_id, body)
        keys = (k.session(session_id), k.cells(session_id), k.ids(session_id), k.waiting, k.sessions)
        reply = await self._call("submit", keys, args)
        status = SubmitStatus(reply[0].decode())
        if status is SubmitStatus.FULL:
            return Submitted(status, pending=reply[1], limit=reply[2])
        if status is SubmitStatus.FAST:
            return Submitted(status, limit=reply[1], new=reply[2], wait_ms=reply[3])
        if status is SubmitStatus.CLOSED:
            return Submitted(status)
        if status is SubmitStatus.QUOTA:
            quota, value, bound, wait_ms = reply[1:]
            exceeded = ExceededQuota(quota.decode(), value, bound, None if wait_ms < 0 else wait_ms)
            return Submitted(status, exceeded=exceeded)
        if status is SubmitStatus.KNOWN:
            return Submitted(status, known=reply[1].decode())
        if status is SubmitStatus.WEAKER:
            return Submitted(status, sandbox=reply[1].decode())
        rest = iter(reply[2:])
        placed = tuple(
            Placed(next(rest)) if mark == b"p" else Placed(next(rest), next(rest), next(rest)) for mark in rest
        )
        return Submitted(status, last_event=reply[1], cells=placed)

    async def defer(self, job_id: str, job: bytes, *, by_ms: int | None = None, until_ms: int = 0) -> bool:
        """Queue arq's job that submits a cell, due in `by_ms` or at `until_ms`; False if this job is queued already."""
        mode, ms = ("until", until_ms) if by_ms is None else ("by", by_ms)
        keys = (self.keys.arq_job(job_id), self.keys.arq_result(job_id))
        reply = await self._call("defer", keys, (self.keys.prefix, job_id, job, mode, ms))
        return bool(reply[0] == b"OK")

    async def watch(self, session_id: str, cell_id: str, *, client_id: str = "") -> Watched | None:
        """Find a cell and subscribe `client_id` to its outcome; None if the cell is unknown."""
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
        kind: RequestKind,
        *,
        cell_id: str = "",
        about: Literal["cell", "process", "residency"] = "cell",
        fields: Mapping[str, Field] | None = None,
    ) -> Controlled:
        """Send a request to the session's owner, about a cell ('' = the running one), its process or its residency."""
        k, signer = self.keys, self.signer
        keys, sid = (k.session(session_id), k.ids(session_id), k.waiting), k.full_id(session_id)
        key_id = "" if signer is None else signer.key_id
        args: list[str | bytes | int] = [k.prefix, sid, kind, cell_id, about, key_id]
        for name, value in (fields or {}).items():
            args += (name, value)
        if signer is not None:
            args += request_signature(signer, sid, kind, cell_id, fields or {})
        reply = await self._call("control", keys, args)
        status = ControlStatus(reply[0].decode())
        owner = reply[1].decode() if status is ControlStatus.OK else ""
        return Controlled(status, owner=owner)

    async def open(self, session_id: str, options: bytes) -> Opened:
        """Create a session without cells, if it doesn't exist."""
        k = self.keys
        reply = await self._call("open", (k.session(session_id), k.sessions), (k.full_id(session_id), options))
        return Opened(reply[0] == b"OK", reply[1].decode() if reply[0] == b"WEAKER" else "")

    async def update(self, session_id: str, before: bytes, options: bytes, request: UpdateSession) -> UpdateStatus:
        """Replace the options that the session had `before`, and send the request to its owner."""
        k, signer = self.keys, self.signer
        sid, fields = k.full_id(session_id), request.pack()
        read = hashlib.sha1(before, usedforsecurity=False).hexdigest()
        args: list[str | bytes | int] = [k.prefix, sid, read, options, "" if signer is None else signer.key_id]
        for name, value in fields.items():
            args += (name, value)
        if signer is not None:
            args += request_signature(signer, sid, "update", "", fields)
        return UpdateStatus((await self._call("update", (k.session(session_id),), args))[0].decode())

    async def close(self, session_id: str, *, only_unused: bool = False) -> Closed:
        """Refuse further cells, and end the session at once if it has no pending cell and no live owner.

        only_unused: change nothing unless the session is unused for longer than its option expires_in.
        """
        k, signer = self.keys, self.signer
        keys = (k.session(session_id), k.events(session_id), k.waiting)
        sid = k.full_id(session_id)
        signature = ("", "") if signer is None else (signer.key_id, signer.text("close", sid, ""))
        reply = await self._call("close", keys, (k.prefix, sid, *signature, int(only_unused)))
        return Closed(reply[0].decode(), *reply[1:])

    async def purge(self, session_id: str) -> bool:
        """Remove a closed session, except the data that its forks still read; False if it is not closed."""
        k, sid = self.keys, session_id
        keys = (
            k.session(sid), k.cells(sid), k.ids(sid), k.events(sid), k.sessions, k.waiting,
            k.checkpoints(sid), k.blobs(sid), k.names(sid), k.pins(sid), k.purged,
        )  # fmt: skip
        reply = await self._call("purge", keys, (k.prefix, k.full_id(sid)))
        return bool(reply[0] == b"OK")

    async def name(self, session_id: str, checkpoint: CheckpointId, name: str) -> tuple[NameStatus, CheckpointId]:
        """Name a checkpoint ('' removes its name); with TAKEN return the checkpoint that has the name."""
        k, sid = self.keys, session_id
        keys = (k.session(sid), k.checkpoints(sid), k.names(sid))
        signature = ""
        if self.signer is not None and name:
            signature = self.signer.text("name", k.full_id(sid), name, str(checkpoint).encode())
        reply = await self._call("name", keys, (checkpoint.stored, name, MAX_NAMES, signature))
        status = NameStatus(reply[0].decode())
        return status, CheckpointId.parse(reply[1]) if status is NameStatus.TAKEN else NO_CHECKPOINT

    async def fork(
        self, source: ForkSource, new_ids: Sequence[str], manifest: bytes, token: str, options: bytes = b""
    ) -> tuple[ForkStatus, list[str]]:
        """Create sessions from a checkpoint, all or none.

        token: random, one per request. options: of the new sessions, b"" for those of the source. Returns with EXISTS
        the ids that are in use already, with WEAKER the tier of the sandbox that the source asks for.
        """
        k, sid = self.keys, source.session_id
        full = (k.full_id(sid), *map(k.full_id, new_ids))
        keys = [k.session(sid), k.checkpoints(sid), k.pins(sid), k.sessions]
        for new_id in new_ids:
            keys += (k.session(new_id), k.checkpoints(new_id))
        at, signer = source.checkpoint, self.signer
        seals = b"" if signer is None else b"".join(manifest_seal(signer, each, at, manifest) for each in full[1:])
        args = (k.prefix, full[0], source.created_at, at.stored, token, manifest, seals, options)
        reply = await self._call("fork", keys, (*args, *full[1:]))
        return ForkStatus(reply[0].decode()), [k.short_id(name.decode()) for name in reply[1:]]
