"""Logins of browsers on this machine: a link that works once, exchanged for a cookie, as in Jupyter.

They live in this process only: another start of the gateway prints another link.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from skep.gateway.tokens.access import Access, Action, Kind

LINK_SECONDS: Final = 3600.0
LOGIN_SECONDS: Final = 12 * 3600.0
MOST_LINKS: Final = 16
MOST_LOGINS: Final = 256


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that has logged in. cookie: secret. csrf: what it has to send with requests that change something."""

    access: Access
    cookie: str = field(repr=False)
    csrf: str = field(repr=False)
    ends_at: float  # monotonic
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)


class Logins:
    """The links that were not used yet, and the logins: at most so many of each, the oldest are dropped.

    All logins permit everything that `tenant` has, or that the shard has without one. It is a TokenChecker too, so that
    streams can wait for the end of a login; but no token in a header is a login.
    """

    def __init__(self, *, tenant: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._tenant = tenant
        self._now = now
        self._links: dict[bytes, float] = {}
        self._logins: dict[bytes, Login] = {}

    def new_link_token(self) -> str:
        """Return a text that can be exchanged for a login once, within an hour."""
        token = secrets.token_urlsafe(32)
        while len(self._links) >= MOST_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_digest(token)] = self._now() + LINK_SECONDS
        return token

    def exchange(self, link_token: str) -> Login | None:
        """Return a new login; None if the text is not one of `new_link_token`, or was used, or is too old."""
        # The digest is looked up, so the time that this takes shows nothing about the text.
        ends_at = self._links.pop(_digest(link_token), None)
        if ends_at is None or ends_at <= self._now():
            return None
        cookie = secrets.token_urlsafe(32)
        digest = _digest(cookie)
        access = Access(
            f"login:{digest.hex()[:12]}",
            self._tenant,
            frozenset(Action),
            datetime.now(UTC) + timedelta(seconds=LOGIN_SECONDS),
            Kind.LOGIN,
        )
        csrf = hmac.digest(cookie.encode(), b"skep csrf 1", "sha256").hex()
        login = Login(access, cookie, csrf, self._now() + LOGIN_SECONDS)
        while len(self._logins) >= MOST_LOGINS:
            self._end(next(iter(self._logins)))
        self._logins[digest] = login
        return login

    def find(self, cookie: str) -> Login | None:
        """Return the login of a cookie, None if it is not one or has ended."""
        digest = _digest(cookie)
        login = self._logins.get(digest)
        if login is not None and login.ends_at <= self._now():
            self._end(digest)
            return None
        return login

    def log_out(self, cookie: str) -> None:
        """End a login, and the streams that wait for that."""
        self._end(_digest(cookie))

    async def check(self, text: str) -> Access | None:
        """Return None: logins are cookies."""
        return None

    async def wait_until_invalid(self, access: Access) -> None:
        """Return when the login has ended."""
        login = next((each for each in self._logins.values() if each.access == access), None)
        if login is None:
            return
        try:
            async with asyncio.timeout(max(0.0, login.ends_at - self._now())):
                await login.ended.wait()
        except TimeoutError:
            self.log_out(login.cookie)

    def _end(self, digest: bytes) -> None:
        login = self._logins.pop(digest, None)
        if login is not None:
            login.ended.set()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
