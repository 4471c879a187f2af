"""Recognizes the tokens of skep, with few questions to Redis, and notices when one is revoked or expires.

A revocation counts within a second in every process. So an answer is remembered for less than that, and while streams
are open, one read of all their tokens is repeated, also less than a second apart. Nothing depends on a message that
could be lost: whatever has happened to Redis in between, the next read shows what is true then.
"""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from skep.gateway.background_task import BackgroundTask
from skep.gateway.tokens.access import Access
from skep.gateway.tokens.store import TokenStore, read_record
from skep.gateway.tokens.token_text import TokenText
from skep.link import ShardLink
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.broker.server_check import as_skep_error

REMEMBERED_SECONDS: Final = 0.8  # with the time of a read less than a second
POLL_SECONDS: Final = 0.4
MOST_REMEMBERED: Final = 10_000  # accepted tokens, and as many refused texts
PAGE: Final = 500
_NO_DIGEST: Final = b"0" * 64


class _Memory:
    """Answers of the last moments, by the digest of the text: at most so many, and each only for a while."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._seconds = seconds
        self._answers: dict[bytes, tuple[float, Access | None]] = {}

    def find(self, key: bytes) -> tuple[float, Access | None] | None:
        """Return the answer and when it ends, None without one."""
        found = self._answers.get(key)
        if found is None or found[0] <= self._now():
            return None
        return found

    def keep(self, key: bytes, asked_at: float, access: Access | None, lifetime_seconds: float | None) -> None:
        """Remember an answer to a question that was asked at this monotonic time."""
        seconds = self._seconds if lifetime_seconds is None else min(self._seconds, lifetime_seconds)
        self._answers.pop(key, None)
        while len(self._answers) >= self._most:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (asked_at + seconds, access)


@dataclass(slots=True)
class _Watched:
    """A token with open streams."""

    streams: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class RedisTokens(BackgroundTask):
    """The TokenChecker for tokens of skep; `async with` owns the task that looks after open streams."""

    task_name = "skep tokens of open streams"

    def __init__(self, link: ShardLink, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds that only grow."""
        self._now = now
        self._link = link
        self._store = TokenStore(link)
        self._accepted = _Memory(MOST_REMEMBERED, REMEMBERED_SECONDS, now)
        self._refused = _Memory(MOST_REMEMBERED, REMEMBERED_SECONDS, now)
        self._watched: dict[str, _Watched] = {}
        self._has_watched = asyncio.Event()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and end the waits: whether these tokens are valid is not known any more."""
        await super().__aexit__(kind, exc, trace)
        for watched in self._watched.values():
            watched.ended.set()

    async def check(self, text: str) -> Access | None:
        """Return what the token permits, None for any other text. Raises RedisUnavailable, RedisRefused."""
        token = TokenText.parse(text)
        if token is None:
            return None
        key = hashlib.sha256(text.encode()).digest()
        known = self._accepted.find(key) or self._refused.find(key)
        if known is not None:
            return known[1]
        asked_at = self._now()
        try:
            now_ms, [fields] = await self._store.read_now([token.id])
        except REDIS_ERRORS as exc:
            raise as_skep_error(self._link.settings, exc) from exc
        access, lifetime_seconds = _judge(token, fields, now_ms)
        memory = self._refused if access is None else self._accepted
        memory.keep(key, asked_at, access, lifetime_seconds)
        return access

    async def wait_until_invalid(self, access: Access) -> None:
        """Return when the token is revoked or has expired, or when this checker is closed."""
        watched = self._watched.setdefault(access.token_id, _Watched())
        watched.streams += 1
        self._has_watched.set()
        try:
            await watched.ended.wait()
        finally:
            watched.streams -= 1
            if not watched.streams and self._watched.get(access.token_id) is watched:
                del self._watched[access.token_id]

    async def _run(self) -> None:
        while True:
            if not self._watched:
                self._has_watched.clear()
                await self._has_watched.wait()
            ids = list(self._watched)
            for start in range(0, len(ids), PAGE):
                # After an error the next round asks again; without Redis, streams have nothing to send either.
                with contextlib.suppress(*REDIS_ERRORS):
                    await self._look_at(ids[start : start + PAGE])
            await asyncio.sleep(POLL_SECONDS)

    async def _look_at(self, ids: Sequence[str]) -> None:
        now_ms, records = await self._store.read_now(ids)
        for token_id, fields in zip(ids, records, strict=True):
            watched = self._watched.get(token_id)
            if watched is not None and not _is_valid(fields, now_ms):
                del self._watched[token_id]  # a later stream with the same token asks again
                watched.ended.set()


def _judge(token: TokenText, fields: Sequence[bytes | None], now_ms: int) -> tuple[Access | None, float | None]:
    """Return what the token permits, and for how many seconds, None: without an end."""
    # An unknown token costs the same comparison: the time shows nothing about which ids exist.
    is_right = hmac.compare_digest(token.digest.encode(), fields[0] or _NO_DIGEST)
    if not (is_right and _is_valid(fields, now_ms)):
        return None, None
    record = read_record(token.id, fields)
    lifetime_seconds = None if record.expires_at is None else record.expires_at.timestamp() - now_ms / 1000
    return Access(record.id, record.tenant, record.can, record.expires_at), lifetime_seconds


def _is_valid(fields: Sequence[bytes | None], now_ms: int) -> bool:
    digest, *_, revoked = fields
    if digest is None or revoked is not None:
        return False
    try:
        record = read_record("", fields)
    except ValueError:  # not written by skep: no one may be let in by it
        return False
    return record.expires_at is None or now_ms < record.expires_at.timestamp() * 1000
