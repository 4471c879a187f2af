"""A client's connections to one shard, and how it behaves when Redis is away.

Whatever may be sent again is sent again, with backoff, until `outage_seconds` have passed; then the caller gets
RedisUnavailable. Submits may be sent again because a cell id is accepted once.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeVar

from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError

from skep_shared.activation import enqueue_activation, open_arq
from skep_shared.connection import CONNECTION_ERRORS, check_server, open_redis, unavailable
from skep_shared.errors import WaitTimeout
from skep_shared.keys import Keys
from skep_shared.scripts import ControlStatus, Scripts
from skep_shared.settings import Settings

T = TypeVar("T")

OWNER_SECONDS: Final = 20.0
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0
_PASSING_ERRORS: Final = (*CONNECTION_ERRORS, BusyLoadingError, ReadOnlyError)


class ShardLink:
    """Clients for commands and for blocking reads, and the scripts, of one shard."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.prefix)
        self.redis = open_redis(settings)
        self.blocking = open_redis(settings, blocking=True)
        # Entries are read as they come: a reply repeats its field `e`, which a dict would lose.
        self.blocking.set_response_callback("XREAD", _entries_as_they_come)
        self.arq = open_arq(settings)
        self.scripts = Scripts(self.redis, self.keys)

    async def check(self) -> None:
        """Make sure that the server can hold sessions. Raises RedisUnavailable, RedisUnsuitable."""
        await check_server(self.redis, self.settings)

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.redis, self.blocking, self.arq):
            with contextlib.suppress(*CONNECTION_ERRORS):
                await client.aclose()

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()` until Redis answers; only for what may be sent again. Raises RedisUnavailable."""
        patience = Patience(self.settings)
        while True:
            try:
                return await call()
            except _PASSING_ERRORS as exc:
                await patience.wait(exc)
            except ResponseError as exc:
                if not str(exc).startswith("BUSY"):
                    raise
                await patience.wait(exc)

    async def activate(self, session_id: str) -> None:
        """Ask for an owner. The cells are safe already: should this fail, a worker finds the session by itself."""
        with contextlib.suppress(*_PASSING_ERRORS):
            await enqueue_activation(self.arq, self.keys, session_id)

    async def request(
        self,
        session_id: str,
        kind: str,
        *,
        cell_id: str = "",
        about: Literal["cell", "process"] = "cell",
        fields: Mapping[str, str | bytes | int] | None = None,
    ) -> ControlStatus:
        """Send a request to the session's owner; if it has none, have one found and ask again.

        Raises WaitTimeout after OWNER_SECONDS without an owner, RedisUnavailable.
        """
        control = self.scripts.control
        try:
            async with asyncio.timeout(OWNER_SECONDS):
                for delay in itertools.chain((0.0, 0.005, 0.02, 0.05, 0.1), itertools.repeat(0.25)):
                    await asyncio.sleep(delay)  # an activation that is under way has no signal here
                    sent = await self.persist(
                        lambda: control(session_id, kind, cell_id=cell_id, about=about, fields=fields)
                    )
                    if sent.needs_activation:
                        await self.activate(session_id)
                    if sent.status is not ControlStatus.ABSENT:
                        return sent.status
        except TimeoutError:
            raise WaitTimeout(f"an owner of session {session_id!r}", OWNER_SECONDS) from None
        raise AssertionError("the delays never end")

    async def follow_stream(self, key: str, after: str) -> AsyncIterator[list[tuple[bytes, list[bytes]]]]:
        """Yield pages of (id, [field, value, …]) behind `after`, for ever; an empty page when nothing has come.

        Survives reconnects. Raises RedisUnavailable.
        """
        patience = Patience(self.settings)
        block_ms = max(1, int(self.settings.block_seconds * 1000))
        while True:
            try:
                reply: list[Any] = await self.blocking.execute_command(
                    "XREAD", "COUNT", 500, "BLOCK", block_ms, "STREAMS", key, after
                )
            except _PASSING_ERRORS as exc:
                await patience.wait(exc)
                continue
            patience = Patience(self.settings)
            entries = [(entry_id, fields) for _, page in reply for entry_id, fields in page]
            if entries:
                after = entries[-1][0].decode()
            yield entries


def _entries_as_they_come(response: Any, **_options: Any) -> Any:
    return response or []


class Patience:
    """How long one caller goes on trying while Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ends_at: float | None = None
        self._delay = FIRST_DELAY_SECONDS

    async def wait(self, exc: Exception) -> None:
        """Sleep a little longer each time. Raises RedisUnavailable when patience has run out."""
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._settings.outage_seconds
        if now >= self._ends_at:
            raise unavailable(self._settings, exc) from exc
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreading, not secrecy
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)
