"""What is signed of the things that scripts write: manifests, requests to owners, options that can run code."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgpack

from skep_shared.broker.mailbox_entries import Field, RequestKind
from skep_shared.broker.script_replies import HOLDS_AGAIN, NONE_MADE, CellCommit
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import SignatureRefused
from skep_shared.full_ids import tenant_of
from skep_shared.signing import Signer, opened, signed_fields

CELL_FIELD: Final = "i"  # of a signed request: the id of the cell that it names
SIGNATURE_FIELD: Final = "z"
OPTIONS_SIGNATURE: Final = "signature"  # a field of packed options
_ABLE_TO_RUN_CODE: Final = ("env", "cwd", "packages")  # the options that need it
# The fields that control.lua, close.lua and update.lua add to a request: they are signed by other means, or not at all.
_ADDED: Final = frozenset({b"k", b"s", b"q", b"i", b"z"})
_KINDS: Final[dict[bytes, RequestKind]] = {
    b"interrupt": "interrupt",
    b"cancel": "cancel",
    b"answer": "answer",
    b"operate": "operate",
    b"update": "update",
}


def request_signature(
    signer: Signer, session_id: str, kind: RequestKind, cell_id: str, fields: Mapping[str, Field]
) -> tuple[str, ...]:
    """Return the fields that sign a request, names and values in turn."""
    text = signer.text(kind, session_id, cell_id, signed_fields(fields))
    return CELL_FIELD, cell_id, SIGNATURE_FIELD, text


def check_request(signer: Signer, fields: Mapping[bytes, bytes]) -> str:
    """Check the signature of a request in a mailbox; return the id of the cell that it names, "" for none.

    Entries that only say where to look need none: cells have their own signature. Raises SignatureRefused, KeyError.
    """
    kind, session_id = fields[b"k"], fields[b"s"].decode()
    text = fields.get(b"z", b"").decode("ascii", "replace")
    if kind == b"close":
        signer.check_text("close", session_id, "", b"", text)
    elif kind in _KINDS:
        cell_id = fields.get(b"i", b"").decode("utf-8", "replace")
        body = signed_fields({name: value for name, value in fields.items() if name not in _ADDED})
        signer.check_text(_KINDS[kind], session_id, cell_id, body, text)
        return cell_id
    return ""


def is_kept_request_signed(signer: Signer, session_id: str, kind: str, cell_id: str, signature: str) -> bool:
    """Return whether a request that the session's hash keeps for its next owner is signed."""
    try:
        signer.check_text(_KINDS[kind.encode()], session_id, cell_id, signed_fields({}), signature)
    except (SignatureRefused, KeyError):
        return False
    return True


def manifest_seal(signer: Signer, session_id: str, checkpoint: CheckpointId, manifest: bytes) -> bytes:
    """Return the seal of a manifest, to be put before it."""
    return signer.signature("manifest", session_id, str(checkpoint), manifest)


def open_manifest(signer: Signer | None, session_id: str, checkpoint: CheckpointId, stored: bytes) -> bytes:
    """Return a manifest without its seal, which is checked if there is a key. Raises SignatureRefused."""
    return opened(signer, "manifest", session_id, str(checkpoint), stored)


def seal_manifests(signer: Signer, session_id: str, cursor: int, cells: Sequence[CellCommit]) -> list[CellCommit]:
    """Return the cells of a commit after `cursor` with their manifests sealed."""
    return [
        cell
        if cell.manifest in {b"", HOLDS_AGAIN, NONE_MADE}
        else replace(cell, manifest=manifest_seal(signer, session_id, CheckpointId(seq), cell.manifest) + cell.manifest)
        for seq, cell in enumerate(cells, start=cursor + 1)
    ]


def sign_options(signer: Signer | None, session_id: str, packed: bytes) -> bytes:
    """Return a new session's packed options with a signature of those that can run code.

    That are `env`, since variables like BASH_ENV make programs run code, `cwd`, from which modules are imported, and
    `packages`, which are installed from an index. They are signed for the tenant and not for the session, because forks
    have the options of their origin.
    """
    fields = _options(packed)
    if signer is None or not _can_run_code(fields):
        return packed
    fields[OPTIONS_SIGNATURE] = signer.text("options", tenant_of(session_id), "", _signed_options(fields))
    signed: bytes = msgpack.packb(fields)
    return signed


def check_options(signer: Signer | None, session_id: str, packed: bytes) -> None:
    """Check the signature of a session's options, if there is a key and one is needed. Raises SignatureRefused."""
    fields = _options(packed)
    if signer is None or not _can_run_code(fields):
        return
    text = fields.get(OPTIONS_SIGNATURE, "")
    try:
        signer.check_text("options", tenant_of(session_id), "", _signed_options(fields), str(text))
    except SignatureRefused as exc:
        what = f"{', '.join(filter(fields.get, _ABLE_TO_RUN_CODE))} in the options of session {session_id!r}"
        raise SignatureRefused(what, exc.reason) from None


def _options(packed: bytes) -> dict[str, Any]:
    return msgpack.unpackb(packed) if packed else {}


def _can_run_code(fields: Mapping[str, Any]) -> bool:
    return any(map(fields.get, _ABLE_TO_RUN_CODE))


def _signed_options(fields: Mapping[str, Any]) -> bytes:
    env = sorted(dict(fields.get("env", {})).items())
    packed: bytes = msgpack.packb([env, fields.get("cwd", ""), fields.get("packages", ())])
    return packed
