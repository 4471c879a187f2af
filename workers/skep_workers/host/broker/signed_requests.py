"""What a worker with signing keys checks before it follows a request: its signature.

A request that arrives in the mailbox is checked as it is read. What the session's hash asks of its owner (that it is
closing, and interrupts that outlived the owner before) is checked before the owner acts on it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import structlog

from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Commands
from skep_shared.broker.mailbox_entries import (
    CancelCell,
    InterruptCell,
    MailboxEntry,
    Operate,
    RefusedRequest,
    unpack_mailbox_entry,
)
from skep_shared.broker.script_replies import Claim, KeptRequest
from skep_shared.broker.signatures import check_request, is_kept_request_signed
from skep_shared.errors import SignatureRefused
from skep_shared.signing import Signer

log = structlog.get_logger()

_OTHER_CELL: Final = "it is signed for another cell"


class SignedRequests:
    """Checks requests with the keys of this worker; without a key, accepts all of them."""

    def __init__(self, signer: Signer | None, redis: Commands, keys: Keys) -> None:
        self._signer = signer
        self._redis = redis
        self._keys = keys

    def read_entry(self, fields: Mapping[bytes, bytes]) -> MailboxEntry:
        """Read a mailbox entry, a RefusedRequest if its signature fails. Raises KeyError, ValueError."""
        entry = unpack_mailbox_entry(fields)
        if self._signer is None:
            return entry
        try:
            cell_id = check_request(self._signer, fields)
            if isinstance(entry, InterruptCell | CancelCell) and bool(cell_id) != bool(entry.seq):
                raise SignatureRefused(f"{fields[b'k'].decode()} of session {entry.session_id!r}", _OTHER_CELL)
        except SignatureRefused as exc:
            request = entry.request if isinstance(entry, Operate) else None
            kind = fields[b"k"].decode("ascii", "replace")
            return RefusedRequest(entry.session_id, kind, exc.what, exc.reason, request)
        return replace(entry, cell_id=cell_id) if isinstance(entry, InterruptCell | CancelCell) else entry

    async def proven(self, claim: Claim) -> Claim:
        """Return the claim without what is not signed. Raises what the driver raises."""
        if self._signer is None or not (claim.closing or claim.requests):
            return claim
        requests = [request for request in claim.requests if await self._is_signed(claim.session_id, request)]
        if len(requests) < len(claim.requests):
            refused = len(claim.requests) - len(requests)
            log.warning("signature.refused", session_id=claim.session_id, what="kept requests", count=refused)
        is_closing = claim.closing and await self.is_close_signed(claim.session_id)
        return replace(claim, requests=tuple(requests), closing=is_closing)

    async def is_close_signed(self, session_id: str) -> bool:
        """Return whether the close of a session that is closing is signed. Raises what the driver raises."""
        if self._signer is None:
            return True
        text = await self._redis.execute_command("HGET", self._keys.session(session_id), "closed_by")
        try:
            self._signer.check_text("close", session_id, "", b"", (text or b"").decode("ascii", "replace"))
        except SignatureRefused:
            return False
        return True

    async def _is_signed(self, session_id: str, request: KeptRequest) -> bool:
        """Return whether a kept request is signed for the cell that has its number."""
        assert self._signer is not None  # noqa: S101 - the caller has checked
        entry_id = f"{request.seq}-0"
        found = await self._redis.execute_command("XRANGE", self._keys.cells(session_id), entry_id, entry_id)
        for _, flat in found:
            cell_id = dict(zip(flat[::2], flat[1::2], strict=False)).get(b"c", b"").decode("utf-8", "replace")
            return is_kept_request_signed(self._signer, session_id, request.kind, cell_id, request.signature)
        return False
