"""The sessions that may use the proxy: their credentials, their hosts, and what each of them uses of it."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from skep_shared.isolation.network import HostPattern

MAX_CONNECTIONS: Final = 64  # of one session at a time
MAX_LOOKUPS: Final = 4  # of one session at a time, those included whose client waits no more: a thread can't be stopped
REPORTS: Final = 20  # refusals of a session that are reported in REPORT_SECONDS
REPORT_SECONDS: Final = 60.0
MAX_HOST_CHARS: Final = 100  # of a host in a report


def digest_of(token: str) -> bytes:
    """Return the form in which a token is stored and compared."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class RefusalLog:
    """Decides which refusals are reported: not the same one again and again, and not too many of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._reported: set[tuple[str, int]] = set()

    def admits(self, host: str, port: int) -> bool:
        """Return whether to report this refusal."""
        if self._clock() - self._began >= REPORT_SECONDS:
            self._began = self._clock()
            self._reported.clear()
        if (host, port) in self._reported or len(self._reported) >= REPORTS:
            return False
        self._reported.add((host, port))
        return True


class PermittedSession:
    """A session with an allow-list."""

    def __init__(self, key: int, hosts: Iterable[HostPattern], clock: Callable[[], float] = time.monotonic) -> None:
        """`key`: by which the worker knows it."""
        self.key: Final = key
        self.refusals: Final = RefusalLog(clock)
        self.lookups = 0
        self._hosts = tuple(hosts)
        self._connections: set[Callable[[], None]] = set()  # each call ends one

    @contextlib.contextmanager
    def owning(self, end_connection: Callable[[], None]) -> Iterator[None]:
        """End a connection when the session ends, unless the body has ended before."""
        self._connections.add(end_connection)
        try:
            yield
        finally:
            self._connections.discard(end_connection)

    def admits(self, name: str, port: int) -> bool:
        """Return whether a host, in the form of `host_name`, is in the list."""
        return any(pattern.matches(name, port) for pattern in self._hosts)

    def end(self) -> None:
        """End all of its connections."""
        for end_connection in tuple(self._connections):
            end_connection()


class Permissions:
    """All sessions with an allow-list, by their credentials."""

    def __init__(self) -> None:
        self._common: tuple[HostPattern, ...] = ()
        self._by_digest: dict[bytes, PermittedSession] = {}
        self._digests: dict[int, bytes] = {}

    def set_common(self, hosts: Iterable[str]) -> None:
        """Set the hosts of all sessions that are permitted from now on."""
        self._common = tuple(map(HostPattern.parse, hosts))

    def permit(self, key: int, digest: bytes, hosts: Iterable[str]) -> None:
        """Permit the session with this token's digest connect to these hosts, and to the common ones."""
        self.revoke(key)
        self._digests[key] = digest
        self._by_digest[digest] = PermittedSession(key, (*self._common, *map(HostPattern.parse, hosts)))

    def revoke(self, key: int) -> None:
        """Forget a session, and end its connections."""
        digest = self._digests.pop(key, None)
        session = None if digest is None else self._by_digest.pop(digest, None)
        if session is not None:
            session.end()

    def find(self, token: str) -> PermittedSession | None:
        """Return the session with this token."""
        # Found by its digest: how long that takes says nothing about the tokens.
        return self._by_digest.get(digest_of(token)) if token else None
