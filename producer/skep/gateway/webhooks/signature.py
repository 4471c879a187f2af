"""Signatures as Standard Webhooks describes them (https://www.standardwebhooks.com), version v1: HMAC-SHA256."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

from skep_shared.errors import InvalidArgument

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the beginning of all of them
_FEWEST_BYTES: Final = 24
_MOST_BYTES: Final = 64
_NEW_BYTES: Final = 32


def new_secret() -> str:
    """Return a random secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def check_secret(secret: object) -> str:
    """Return the secret, or raise InvalidArgument, which doesn't quote it."""
    limit = f"{SECRET_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} random bytes in base64 are needed; or leave it out"
    if not isinstance(secret, str) or not secret.startswith(SECRET_PREFIX):
        raise InvalidArgument("secret", "***", limit)
    try:
        size = len(_key(secret))
    except (ValueError, binascii.Error):
        size = 0
    if not _FEWEST_BYTES <= size <= _MOST_BYTES:
        raise InvalidArgument("secret", "***", limit)
    return secret


def signed_headers(secret: str, message_id: str, body: bytes, *, at: float) -> dict[str, str]:
    """Return the three headers of a delivery at this Unix time."""
    timestamp = str(int(at))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    mac = base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{mac}"}


def message_id_of(full_name: str, session_id: str, created_at_ms: int, body: bytes) -> str:
    """Return the id of an event's message, which is the same whenever the same event is sent for the same webhook."""
    named = f"{full_name}\0{session_id}\0{created_at_ms}\0".encode()
    return f"msg_{hashlib.sha256(named + body).hexdigest()[:32]}"


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
