"""Reads each followed session once, and passes its new events to all of its streams.

A stream first reads the stored events by itself. Once it has them all, it joins the feed of its session, which has the
latest events at hand: the stream continues exactly where its own reading ended, or reads on if the feed is ahead by
more. If too much waits for a stream, because its client reads slowly or a session writes fast, that is forgotten, and
the stream reads the stored events again, at its own pace. So a slow client costs neither memory nor the others' time.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, NamedTuple

from skep.gateway.metrics import Metrics
from skep.gateway.settings import GatewaySettings
from skep.gateway.streams.sse import frame
from skep.session import Session
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import SkepError
from skep_shared.events import Event, ResetEvent, SessionClosedEvent, event_number

RECENT_EVENTS: Final = 512
RECENT_BYTES: Final = 1024 * 1024
PAGE_BYTES: Final = 64 * 1024  # of stored events, sent at once


class _Sent(NamedTuple):
    """An event as it is sent. after: the number of the event that its stream has seen last afterwards."""

    after: int
    data: bytes
    is_reset: bool
    is_last: bool

    @classmethod
    def of(cls, event: Event) -> "_Sent":
        return cls(
            event_number(event.id), frame(event), isinstance(event, ResetEvent), isinstance(event, SessionClosedEvent)
        )


class _Overflow(Exception):
    """More waits for a stream than may: it has to read the stored events by itself again."""


class _Subscription:
    """One stream's place at a feed: the events that wait for it, within bounds."""

    def __init__(self, seen: int, settings: GatewaySettings) -> None:
        self.seen = seen
        self._failure: Exception | None = None
        self._settings = settings
        self._waiting: deque[_Sent] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def put(self, sent: _Sent) -> None:
        """Add an event, unless the stream has it already."""
        is_known = sent.after > self.seen if sent.is_reset else sent.after <= self.seen
        if self._failure is not None or is_known:
            return
        self.seen = sent.after
        self._waiting.append(sent)
        self._bytes += len(sent.data)
        if len(self._waiting) > self._settings.stream_events or self._bytes > self._settings.stream_bytes:
            self.fail(_Overflow())
        self._news.set()

    def fail(self, exc: Exception) -> None:
        """End it with this error. What waits is forgotten: it is stored."""
        self._failure = self._failure or exc
        self._waiting.clear()
        self._bytes = 0
        self._news.set()

    async def next(self) -> list[_Sent]:
        """Wait for events, and return all that wait. Raises the error that it was ended with."""
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        waiting, self._waiting, self._bytes = self._waiting, deque(), 0
        return list(waiting)


class _Feed:
    """Reads one session from an event on, for all of its streams."""

    def __init__(self, session: Session, seen: int) -> None:
        self._session = session
        self.seen = seen
        self.recent: deque[_Sent] = deque()
        self._recent_bytes = 0
        self.streams: set[_Subscription] = set()
        self.task: asyncio.Task[None] | None = None
        self.has_ended = False

    def join(self, stream: _Subscription) -> bool:
        """Add a stream, with the recent events that it has not seen. False if it has to read stored ones before."""
        oldest = self.recent[0].after - 1 if self.recent else self.seen
        if self.has_ended or stream.seen < oldest:
            return False
        for sent in self.recent:
            stream.put(sent)
        self.streams.add(stream)
        return True

    async def run(self) -> None:
        """Read until the session is closed, or until Redis can't be reached for too long."""
        failure: Exception | None = None
        try:
            async with contextlib.aclosing(self._session.events(f"{self.seen}-0", follow=True)) as events:  # type: ignore[type-var]
                async for event in events:
                    self._pass_on(_Sent.of(event))
        except SkepError as exc:
            failure = exc
        finally:
            self.has_ended = True
            for stream in self.streams:
                if failure is not None:
                    stream.fail(failure)

    def _pass_on(self, sent: _Sent) -> None:
        self.seen = sent.after
        if sent.is_reset:  # what was at hand is void
            self.recent.clear()
            self._recent_bytes = 0
        else:
            self.recent.append(sent)
            self._recent_bytes += len(sent.data)
            while len(self.recent) > RECENT_EVENTS or self._recent_bytes > RECENT_BYTES:
                self._recent_bytes -= len(self.recent.popleft().data)
        for stream in self.streams:
            stream.put(sent)


class Feeds:
    """The feeds of all sessions that are followed."""

    def __init__(self, settings: GatewaySettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._feeds: dict[tuple[str | None, str], _Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    async def follow(self, tenant: str | None, session: Session, after: int) -> AsyncIterator[bytes]:
        """Yield the events after number `after`, as they are sent, until the session is closed.

        Raises RedisUnavailable.
        """
        place = _Place(after)
        while not place.is_last:
            async with contextlib.aclosing(_stored(session, place, self._metrics)) as pages:
                async for page in pages:
                    yield page
            feed = None if place.is_last else self._feed((tenant, session.id), session, place.seen)
            if feed is None or (stream := self._join(feed, place.seen)) is None:
                continue
            try:
                while not place.is_last:
                    waiting = await stream.next()
                    place.seen, place.is_last = waiting[-1].after, waiting[-1].is_last
                    self._metrics.events_sent += len(waiting)
                    yield b"".join(sent.data for sent in waiting)
            except _Overflow:
                self._metrics.overflows += 1
            finally:
                await self._leave((tenant, session.id), feed, stream)

    def _feed(self, key: tuple[str | None, str], session: Session, seen: int) -> _Feed:
        feed = self._feeds.get(key)
        if feed is None or feed.has_ended:
            feed = self._feeds[key] = _Feed(session, seen)
        return feed

    def _join(self, feed: _Feed, seen: int) -> _Subscription | None:
        stream = _Subscription(seen, self._settings)
        if not feed.join(stream):
            return None
        if feed.task is None:
            feed.task = asyncio.create_task(feed.run(), name="feed of a session")
        return stream

    async def _leave(self, key: tuple[str | None, str], feed: _Feed, stream: _Subscription) -> None:
        feed.streams.discard(stream)
        if not feed.streams and feed.task is not None:
            if self._feeds.get(key) is feed:
                del self._feeds[key]
            await cancel_until_ended([feed.task])

    async def aclose(self) -> None:
        """Stop reading."""
        await cancel_until_ended(feed.task for feed in self._feeds.values() if feed.task is not None)


class _Place:
    """How far a stream has read the stored events."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self.is_last = False


async def _stored(session: Session, place: _Place, metrics: Metrics) -> AsyncGenerator[bytes, None]:
    """Yield the stored events after a place, as they are sent, many at once; the place moves on."""
    waiting: list[bytes] = []
    size = 0
    async for event in session.events(f"{place.seen}-0"):
        sent = _Sent.of(event)
        waiting.append(sent.data)
        size += len(sent.data)
        place.seen, place.is_last = sent.after, sent.is_last
        if size >= PAGE_BYTES:
            metrics.events_sent += len(waiting)
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        metrics.events_sent += len(waiting)
        yield b"".join(waiting)
