"""The scripts that a session's owner calls, as typed functions; each checks the owner's claim."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Literal

from skep_shared.broker.script_replies import CellCommit, Claim, Pruned
from skep_shared.broker.script_source import ScriptCalls, load_scripts
from skep_shared.broker.signatures import manifest_seal, seal_manifests
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import EventGap, Fenced

INLINE_REPLY_BYTES: Final = 256 * 1024
SaveKind = Literal["", "void", "last"]


class OwnerScripts(ScriptCalls):
    """The scripts of owners. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("begin", "emit", "commit", "save", "prune", "rehead", "confirm", "release", "reopen")

    async def begin(self, claim: Claim, seq: int) -> int:
        """Record that the session's process begins this cell (see begin.lua); return its seq. Raises Fenced."""
        reply = await self._call("begin", (self.keys.session(claim.session_id),), (claim.token, claim.epoch, seq))
        _raise_refusal(reply, claim.session_id, 0)
        return seq

    def post_begin(self, claim: Claim, seq: int) -> asyncio.Future[Any] | None:
        """Send the same before any later command, without waiting; None, and nothing is sent, if that is impossible.

        After any other reply than OK, and after an error, the caller has to await `begin`.
        """
        return self._post("begin", (self.keys.session(claim.session_id),), (claim.token, claim.epoch, seq))

    async def emit(self, claim: Claim, first_event: int, events: Sequence[bytes], *, said: str = "") -> int:
        """Append events from number `first_event` on; return the number of the last one. Raises Fenced, EventGap.

        said: the attempts of pending cells that events have announced (see emit.lua).
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
        begun: int = 0,
    ) -> int:
        """Commit the cells after `cursor`; return the number of the last event. Raises Fenced, EventGap.

        begun: seq of the cell after them if the session's process has begun it; 0 if it has not.
        """
        k, sid = self.keys, claim.session_id
        if self.signer is not None:
            cells = seal_manifests(self.signer, sid, cursor, cells)
        args: list[str | bytes | int] = [
            k.prefix, sid, claim.token, claim.epoch, cursor, first_event, reply_ttl_ms, inline_bytes,
            begun or "",
        ]  # fmt: skip
        for cell in cells:
            written = "" if cell.written_bytes is None else cell.written_bytes
            args += (cell.cell_id, cell.first_event, len(cell.events), cell.manifest, len(cell.blobs), written)
            args += cell.events
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
        checkpoint: CheckpointId,
        manifest: bytes,
        blobs: Sequence[tuple[bytes, bytes]] = (),
        *,
        kind: SaveKind = "",
    ) -> int:
        """Write the checkpoint after a committed cell; return the last cell whose effects are saved.

        kind: "void" if the cell had no effect, so that it is saved if the cell before it is; "last" for the state of a
        process at its end, which may follow another checkpoint of the same cell. Raises Fenced, EventGap.
        """
        k, sid = self.keys, claim.session_id
        if self.signer is not None and manifest:
            manifest = manifest_seal(self.signer, sid, checkpoint, manifest) + manifest
        args: list[str | bytes | int] = [claim.token, claim.epoch, checkpoint.stored, manifest, kind]
        for blob in blobs:
            args += blob
        reply = await self._call("save", (k.session(sid), k.checkpoints(sid), k.blobs(sid)), args)
        _raise_refusal(reply, sid, checkpoint.seq)
        saved: int = reply[1]
        return saved

    async def prune(
        self,
        claim: Claim,
        checkpoints: Sequence[CheckpointId],
        garbage: Sequence[bytes],
        *,
        number: int = 0,
        newest: int = 0,
    ) -> Pruned:
        """Remove these checkpoints and the chunks that only they named, or nothing. Raises Fenced, EventGap.

        number: 1, 2 … for each request of an owner, so that a request is executed once however often it is sent.
        newest: the cell of the latest checkpoint that the owner knows.
        """
        k, sid = self.keys, claim.session_id
        keys = (k.session(sid), k.checkpoints(sid), k.blobs(sid), k.names(sid), k.pins(sid))
        gone = [checkpoint.stored for checkpoint in checkpoints]
        reply = await self._call("prune", keys, (claim.token, claim.epoch, number, newest, len(gone), *gone, *garbage))
        _raise_refusal(reply, sid, 0)
        return Pruned(reply[0] == b"OK", reply[1], frozenset(map(CheckpointId.parse, reply[2:])))

    async def rehead(self, claim: Claim, cursor: int, checkpoint: CheckpointId) -> CheckpointId | None:
        """Make an earlier checkpoint the head; return the previous head, None if it is unknown.

        Raises Fenced, EventGap.
        """
        k, sid = self.keys, claim.session_id
        reply = await self._call(
            "rehead", (k.session(sid), k.checkpoints(sid)), (claim.token, claim.epoch, cursor, checkpoint.stored)
        )
        _raise_refusal(reply, sid, cursor)
        return None if reply[0] == b"UNKNOWN" else CheckpointId.parse(reply[1])

    async def confirm(self, claim: Claim) -> int:
        """Remove the owner's session from the waiting sessions; return its last seq. Raises Fenced."""
        k, sid = self.keys, claim.session_id
        reply = await self._call("confirm", (k.session(sid), k.waiting), (sid, claim.token, claim.epoch, k.prefix))
        _raise_refusal(reply, sid, 0)
        seq: int = reply[1]
        return seq

    async def reopen(self, claim: Claim) -> bool:
        """Make a session open again whose close was not signed; False if it was not closing. Raises Fenced."""
        reply = await self._call("reopen", (self.keys.session(claim.session_id),), (claim.token, claim.epoch))
        _raise_refusal(reply, claim.session_id, 0)
        return bool(reply[1])

    async def release(
        self,
        claim: Claim,
        worker_id: str,
        *,
        closing_event: bytes = b"",
        first_event: int = 0,
        was_started: bool = False,
        shuts_down: bool = False,
    ) -> int:
        """Release the session, or end it with its closing event; return the number of pending cells.

        was_started: the first pending cell has been started here, so its next start is another attempt. shuts_down: it
        has not ended because the worker shuts down. Raises Fenced, EventGap. With a closing event and pending cells
        nothing is changed.
        """
        k, sid = self.keys, claim.session_id
        keys = (k.session(sid), k.owned(worker_id), k.waiting, k.events(sid))
        args = (sid, claim.token, claim.epoch, closing_event, first_event, int(was_started), int(shuts_down))
        reply = await self._call("release", keys, args)
        _raise_refusal(reply, sid, first_event)
        return 0 if reply[0] == b"DUP" else reply[1]


def _raise_refusal(reply: list[Any], session_id: str, expected: int) -> None:
    if reply[0] == b"FENCED":
        raise Fenced(session_id, reply[1])
    if reply[0] == b"GAP":
        raise EventGap(session_id, expected, reply[1])
