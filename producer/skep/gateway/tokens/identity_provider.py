"""Recognizes the tokens (JWT) of an identity provider by its public keys.

Which algorithms are accepted is fixed by the settings and never by the token. Issuer, audience, expiry, time of issue
and subject are required. Claims say which tenant and which rights a token has.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from skep.gateway.tokens.access import Access, Action, Kind
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.tokens.provider_keys import ProviderKey, ProviderKeys
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_tenant

MOST_CHARS: Final = 16 * 1024
LONGEST_SLEEP_SECONDS: Final = 60.0  # so that a wait notices when the machine's clock was set
ALL_TENANTS: Final = "*"
_REQUIRED: Final = ("exp", "iat", "iss", "aud", "sub")


class IdentityProvider:
    """The TokenChecker for tokens of one identity provider."""

    def __init__(self, settings: IdentitySettings, keys: ProviderKeys, *, now: Callable[[], float] = time.time) -> None:
        """`now` returns Unix time in seconds; it decides when waits end."""
        self._settings = settings
        self._keys = keys
        self._now = now

    async def check(self, text: str) -> Access | None:
        """Return what a token permits, None for any text that is no valid token. Raises IdentityUnavailable."""
        if len(text) > MOST_CHARS or text.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(text)
        except (jwt.PyJWTError, ValueError):
            return None
        key_id, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(key_id, str) or algorithm not in self._settings.algorithms or "crit" in header:
            return None
        key = await self._keys.find(key_id)
        if key is None or key.algorithm not in {None, algorithm}:
            return None
        claims = self._verified(text, key, str(algorithm))
        return None if claims is None else access_of(claims, self._settings)

    async def wait_until_invalid(self, access: Access) -> None:
        """Return when the token has expired; tokens of a provider can't be revoked here."""
        ends_at = 0.0 if access.expires_at is None else access.expires_at.timestamp()
        while (seconds := ends_at - self._now()) > 0:  # noqa: ASYNC110 - a clock sends no signal
            await asyncio.sleep(min(seconds, LONGEST_SLEEP_SECONDS))

    def _verified(self, text: str, key: ProviderKey, algorithm: str) -> Mapping[str, Any] | None:
        settings = self._settings
        try:
            claims: Mapping[str, Any] = jwt.decode(
                text,
                key.key,
                algorithms=[algorithm],  # one of the settings' own: see check
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": list(_REQUIRED)},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            return None
        return claims


@contextlib.asynccontextmanager
async def open_identity_provider(settings: IdentitySettings) -> AsyncIterator[IdentityProvider]:
    """Yield the checker for the provider of these settings; its connection is closed at the end."""
    async with ProviderKeys(settings) as keys:
        yield IdentityProvider(settings, keys)


def access_of(claims: Mapping[str, Any], settings: IdentitySettings) -> Access | None:
    """Return what verified claims permit; None without a tenant. Rights that are not known are ignored."""
    named = claim(claims, settings.tenant_claim)
    named = settings.default_tenant if named is None else named
    tenant: str | None = None
    if named != ALL_TENANTS or claim(claims, settings.tenant_claim) is not None:
        try:
            tenant = check_tenant(named)
        except InvalidArgument:
            return None
    words = claim(claims, settings.rights_claim)
    given: Iterable[Any] = words.split() if isinstance(words, str) else words if isinstance(words, list) else ()
    known = [settings.rights[word] for word in given if isinstance(word, str) and word in settings.rights]
    subject = hashlib.sha256(f"{claims['iss']}\0{claims['sub']}".encode("utf-8", "surrogatepass")).hexdigest()
    try:
        expires_at = datetime.fromtimestamp(int(claims["exp"]) + settings.leeway_seconds, UTC)
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return None
    return Access(f"jwt:{subject[:12]}", tenant, frozenset(map(Action, known)), expires_at, Kind.IDENTITY)


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by a path through nested ones: realm_access.roles. None without it."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
