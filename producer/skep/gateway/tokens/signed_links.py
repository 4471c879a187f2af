"""Links to one file that work without a token, until they expire.

A link holds the tenant, the time of its end, and an HMAC-SHA256 over these, the method, the session and the path. The
key is made at random by the first gateway of a shard and kept in Redis, so all gateways accept each other's links. A
link can't be revoked alone: to end all of them, delete the key, `P:link-key`; gateways notice within KEY_SECONDS.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast
from urllib.parse import urlencode

from skep.link import ShardLink
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_number, check_session_id, check_tenant

LONGEST_SECONDS: Final = 7 * 86_400.0
KEY_SECONDS: Final = 10.0  # after which the key is read again
REREAD_SECONDS: Final = 1.0  # between reads of the key because of signatures that are wrong
METHODS: Final = ("GET", "PUT")
_CONTEXT: Final = b"skep file link 1"


@dataclass(frozen=True, slots=True)
class SignedFile:
    """What a link permits: one method for one file. tenant: None for a session without one. expires_at: aware."""

    method: str
    tenant: str | None
    session_id: str
    path: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A new link. query: of the file's URL, without the question mark."""

    file: SignedFile
    query: str


def signature_of(key: bytes, method: str, tenant: str, session_id: str, path: str, expires: int) -> str:
    """Return the signature, hex. expires: Unix time in seconds. Each part is signed with its length."""
    mac = hmac.new(key, _CONTEXT, hashlib.sha256)
    for part in (method, tenant, session_id, path, str(expires)):
        encoded = part.encode("utf-8", "surrogatepass")
        mac.update(len(encoded).to_bytes(4, "big") + encoded)
    return mac.hexdigest()


class LinkSigner:
    """Signs and checks the links of one shard."""

    def __init__(self, link: ShardLink, *, now: Callable[[], float] = time.time) -> None:
        """`now` returns Unix time in seconds."""
        self._link = link
        self._now = now
        self._key = b""
        self._read_at = 0.0

    async def sign(
        self, path: str, *, session_id: str, tenant: str | None, seconds: float, method: str = "GET"
    ) -> SignedLink:
        """Return a link to a file of a session for so many seconds. Raises InvalidArgument, RedisUnavailable."""
        if method not in METHODS:
            raise InvalidArgument("method", method, f"one of {', '.join(METHODS)} is needed")
        check_session_id(session_id)
        if tenant is not None:
            check_tenant(tenant)
        if not isinstance(path, str) or not path:
            raise InvalidArgument("path", path, "the path of a file is needed")
        check_number("seconds", seconds, low=1, high=LONGEST_SECONDS)
        expires = int(self._now() + seconds)
        signature = signature_of(await self._current_key(), method, tenant or "", session_id, path, expires)
        fields = {"tenant": tenant} if tenant is not None else {}
        query = urlencode({**fields, "expires": str(expires), "signature": signature})
        return SignedLink(SignedFile(method, tenant, session_id, path, datetime.fromtimestamp(expires, UTC)), query)

    async def check(self, path: str, *, session_id: str, query: Mapping[str, str], method: str) -> SignedFile | None:
        """Return what a link permits; None if it has expired, or was not signed for this file and this method.

        query: of the request. A link for GET is also one for HEAD. Raises RedisUnavailable.
        """
        tenant, expires, given = query.get("tenant", ""), query.get("expires", ""), query.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and given.isascii()):
            return None
        signed_method = "GET" if method == "HEAD" else method
        signed = (signed_method, tenant, session_id, path, int(expires))
        is_right = hmac.compare_digest(signature_of(await self._current_key(), *signed), given)
        if not is_right and await self._key_has_changed():
            is_right = hmac.compare_digest(signature_of(self._key, *signed), given)
        if not is_right or self._now() >= int(expires):
            return None
        return SignedFile(signed_method, tenant or None, session_id, path, datetime.fromtimestamp(int(expires), UTC))

    async def _current_key(self) -> bytes:
        if not self._key or self._age() >= KEY_SECONDS:
            await self._read()
        return self._key

    async def _key_has_changed(self) -> bool:
        """Read the key again, unless that was done just now: Redis may have gone back, or been emptied."""
        if self._age() < REREAD_SECONDS:
            return False
        before = self._key
        await self._read()
        return self._key != before

    def _age(self) -> float:
        return abs(self._now() - self._read_at)  # the machine's clock may be set back

    async def _read(self) -> None:
        redis, name = self._link.redis, self._link.keys.link_key
        key = await self._link.persist(lambda: redis.execute_command("GET", name))
        if key is None:
            new = secrets.token_hex(32)
            await self._link.persist(lambda: redis.execute_command("SET", name, new, "NX"))
            key = await self._link.persist(lambda: redis.execute_command("GET", name))
        self._key, self._read_at = cast("bytes", key), self._now()
