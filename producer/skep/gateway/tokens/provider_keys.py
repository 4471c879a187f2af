"""The public keys of an identity provider (JWKS): fetched within a deadline, remembered, and fetched again in bounds.

A token that names an unknown key causes a fetch, since providers change their keys; but at most one each
`refresh_seconds`, failed ones included, so that made-up tokens can't be used to flood the provider. Tokens with known
keys don't wait for it. While the provider can't be reached, known keys count for `outage_seconds` longer.
"""

import asyncio
import json
import math
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpcore
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from skep.gateway.tls_streams import ClosingNetwork
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep_shared.errors import IdentityUnavailable

LARGEST_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 100
SMALLEST_RSA_BITS: Final = 2048
_OK: Final = 200
_KINDS: Final = frozenset({"RSA", "EC", "OKP"})  # of public keys; "oct" would be a shared secret
_FAILURES: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A public key. algorithm: the only one that it is for; None if the provider does not say that."""

    key: Any
    algorithm: str | None


class ProviderKeys:
    """The keys of one provider; an asynchronous context manager that owns the connection."""

    def __init__(self, settings: IdentitySettings, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds that only grow."""
        self._settings = settings
        self._now = now
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), max_connections=1, network_backend=ClosingNetwork()
        )
        self._keys: Mapping[str, ProviderKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failure = ""
        self._fetching = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return this. Nothing is fetched before the first token."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._pool.aclose()

    async def find(self, key_id: str) -> ProviderKey | None:
        """Return a key; None if the provider does not have it. Raises IdentityUnavailable if that is not known."""
        known = self._keys.get(key_id)
        if known is not None and (not self._is_old() or (self._fetching.locked() and not self._is_too_old())):
            return known
        async with self._fetching:
            if (key_id not in self._keys or self._is_old()) and self._may_fetch():
                await self._fetch()
        if self._is_too_old():
            raise IdentityUnavailable(self._settings.jwks_url, self._failure)
        return self._keys.get(key_id)

    def _age(self) -> float:
        return math.inf if self._fetched_at is None else self._now() - self._fetched_at

    def _is_old(self) -> bool:
        return self._age() > self._settings.keys_seconds

    def _is_too_old(self) -> bool:
        return self._age() > self._settings.keys_seconds + self._settings.outage_seconds

    def _may_fetch(self) -> bool:
        return self._tried_at is None or self._now() - self._tried_at >= self._settings.refresh_seconds

    async def _fetch(self) -> None:
        self._tried_at = self._now()
        try:
            async with asyncio.timeout(self._settings.fetch_seconds):
                self._keys = read_keys(await self._download())
        except TimeoutError:
            self._failure = f"no answer within {self._settings.fetch_seconds:g} s"
        except _FAILURES as exc:
            self._failure = f"{type(exc).__name__}: {exc}"[:200]
        else:
            self._fetched_at, self._failure = self._tried_at, ""

    async def _download(self) -> bytes:
        headers = (("accept", "application/json"), ("accept-encoding", "identity"))
        body = b""
        async with self._pool.stream("GET", self._settings.jwks_url, headers=headers) as response:
            if response.status != _OK:
                raise ValueError(f"it answered {response.status}")
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > LARGEST_BYTES:
                    raise ValueError(f"the answer has more than {LARGEST_BYTES} bytes")
        return body


def read_keys(body: bytes) -> dict[str, ProviderKey]:
    """Return the keys for signatures in a JWKS, by id. Others are ignored. Raises ValueError for no JWKS at all."""
    found = json.loads(body)
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it has no list of "keys"')  # noqa: TRY004 - as for JSON
    keys = {}
    for entry in entries[:MOST_KEYS]:
        key = _read_key(entry)
        if key is not None:
            keys[entry["kid"]] = key
    return keys


def _read_key(entry: Any) -> ProviderKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("kty") not in _KINDS or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        return None
    algorithm = entry.get("alg")
    return ProviderKey(key, algorithm if isinstance(algorithm, str) else None)
