"""Signatures by which a worker recognizes what comes from a holder of the shard's signing key.

Without a key, everyone who can write to Redis can run code on the workers. With one, a cell, a request, a manifest or a
chunk counts only with an HMAC-SHA256 by one of the worker's keys. What is signed is the kind of the thing, the shard's
prefix, the session's id, the name of the thing (a cell's id, a checkpoint's id, a chunk's name) and its bytes, each
with its length. So nothing that was signed once passes as another thing, or in another place.

A signature has two forms. A *seal* is put before the bytes that it signs: it begins with a byte that neither msgpack
nor a stored chunk begins with, and a version. A *text* is a field of its own.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import msgpack

from skep_shared.errors import SignatureRefused

Kind = Literal[
    "cell",
    "job",
    "interrupt",
    "cancel",
    "answer",
    "operate",
    "update",
    "close",
    "manifest",
    "chunk",
    "name",
    "upload",
    "options",
]

REFUSED_CATEGORY: Final = "signature.refused"  # of the warning events about it
OTHER_KEY: Final = (
    "its worker has signing keys, and this client signs with none of them: set SKEP_SIGNING_KEY to one of them"
)
SEAL: Final = b"\xc1\x01"
TEXT: Final = "v1-"
MAC_BYTES: Final = hashlib.sha256().digest_size
SEAL_BYTES: Final = len(SEAL) + MAC_BYTES
SMALLEST_KEY_BYTES: Final = 32
_CONTEXT: Final = b"skep signature 1"
_KEY_ID_CHARS: Final = 16
_UNSIGNED: Final = "it is not signed, and this shard's workers have a signing key: set SKEP_SIGNING_KEY"
_WRONG: Final = "its signature is not by a key in SKEP_SIGNING_KEY, or is of another thing"


class _HasSecret(Protocol):
    def get_secret_value(self) -> str:
        """Return the secret."""


class Signer:
    """Signs with the first key of a shard, and accepts the signatures of all of them.

    It holds secrets: it is never logged, and has no representation that shows them.
    """

    __slots__ = ("_keys", "_scope", "key_id", "key_ids")

    def __init__(self, keys: Sequence[str], prefix: str) -> None:
        self._keys = [key.encode() for key in keys]
        self._scope = _CONTEXT + _with_length(prefix.encode())
        ids = [hmac.digest(key, _CONTEXT + b" key id", "sha256").hex()[:_KEY_ID_CHARS] for key in self._keys]
        self.key_id: Final = ids[0]
        self.key_ids: Final = " ".join(ids)

    def seal(self, kind: Kind, session_id: str, name: str | bytes, body: bytes | memoryview) -> bytes:
        """Return the bytes after their signature."""
        return b"".join((self.signature(kind, session_id, name, body), body))

    def signature(self, kind: Kind, session_id: str, name: str | bytes, body: bytes | memoryview) -> bytes:
        """Return the seal alone, SEAL_BYTES long."""
        return SEAL + hmac.digest(self._keys[0], self._text(kind, session_id, name, body), "sha256")

    def open(self, kind: Kind, session_id: str, name: str | bytes, sealed: bytes) -> bytes:
        """Return the bytes after a seal. Raises SignatureRefused."""
        if not sealed.startswith(SEAL):
            raise SignatureRefused(_described(kind, session_id, name), _UNSIGNED)
        body = sealed[SEAL_BYTES:]
        self._check(kind, session_id, name, body, sealed[len(SEAL) : SEAL_BYTES])
        return body

    def text(self, kind: Kind, session_id: str, name: str, body: bytes = b"") -> str:
        """Return a signature for a field of its own."""
        return TEXT + hmac.digest(self._keys[0], self._text(kind, session_id, name, body), "sha256").hex()

    def check_text(self, kind: Kind, session_id: str, name: str, body: bytes, text: str) -> None:
        """Raise SignatureRefused unless `text` is a signature of this."""
        if not text:
            raise SignatureRefused(_described(kind, session_id, name), _UNSIGNED)
        try:
            mac = bytes.fromhex(text.removeprefix(TEXT)) if text.startswith(TEXT) else b""
        except ValueError:
            mac = b""
        self._check(kind, session_id, name, body, mac)

    def _check(self, kind: Kind, session_id: str, name: str | bytes, body: bytes, mac: bytes) -> None:
        text = self._text(kind, session_id, name, body)
        for key in self._keys:
            if hmac.compare_digest(hmac.digest(key, text, "sha256"), mac):
                return
        raise SignatureRefused(_described(kind, session_id, name), _WRONG)

    def _text(self, kind: Kind, session_id: str, name: str | bytes, body: bytes | memoryview) -> bytes:
        named = name if isinstance(name, bytes) else name.encode()
        parts = (kind.encode(), session_id.encode(), named)
        return b"".join((self._scope, *map(_with_length, parts), body))  # the body is the rest: it needs no length


def make_signer(signing_key: _HasSecret, prefix: str) -> Signer | None:
    """Return the signer for the setting `signing_key`, None without a key."""
    keys = split_keys(signing_key.get_secret_value())
    return Signer(keys, prefix) if keys else None


def split_keys(setting: str) -> list[str]:
    """Return the keys of the setting, which are separated by commas."""
    return [key for part in setting.split(",") if (key := part.strip())]


def unsealed(stored: bytes) -> bytes:
    """Return the bytes after a seal that is not checked, or all of them if there is none."""
    return stored[SEAL_BYTES:] if stored[:1] == SEAL[:1] else stored


def opened(signer: Signer | None, kind: Kind, session_id: str, name: str | bytes, stored: bytes) -> bytes:
    """Return the bytes after a seal, which is checked if there is a key. Raises SignatureRefused."""
    return unsealed(stored) if signer is None else signer.open(kind, session_id, name, stored)


def signed_fields(fields: Mapping[Any, Any]) -> bytes:
    """Return what is signed of the fields of a request: the same for values that are to be sent and that have been."""
    plain = {_as_bytes(name): _as_bytes(value) for name, value in fields.items()}
    packed: bytes = msgpack.packb(sorted(plain.items()))
    return packed


def signed_job(code: str, options: Mapping[str, Any]) -> bytes:
    """Return what is signed of a job that submits a cell: its code and options as msgpack carries them."""
    packed: bytes = msgpack.packb([code, sorted(options.items())], default=repr)
    return packed


def _as_bytes(value: str | bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _with_length(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _described(kind: Kind, session_id: str, name: str | bytes) -> str:
    named = name.hex() if isinstance(name, bytes) else name
    return f"{kind} {named!r} of session {session_id!r}" if named else f"{kind} of session {session_id!r}"
