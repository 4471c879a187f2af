"""Reading a session's events: what is stored, page by page, and then what comes.

Ids are dense, so a reader sees by itself when events are missing: retention has removed them, and it is told so
(`events.trimmed`). Redis may also go back, by a failover to a replica that lagged or a restart from an older file; what
was read may then be gone, or others have its numbers. So a reader that may talk to another server, or to one that has
been started anew, looks first whether the last event it has seen is there, as it was; if not it is told how far back
things are the same (`events.reset`), and goes on from there.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from skep.link import ShardLink
from skep.trail import Trail
from skep_shared.errors import InvalidArgument
from skep_shared.events import (
    Event,
    ResetEvent,
    SessionClosedEvent,
    event_number,
    reset_event,
    trimmed_event,
    unpack_event,
    unpack_events,
)

PAGE_EVENTS: Final = 1000

Entry = tuple[int, bytes]


def check_event_id(field: str, event_id: object) -> int:
    """Give n of `n-0` (or of `n`). Raises InvalidArgument."""
    text = event_id if isinstance(event_id, str) else ""
    number, _, rest = text.partition("-")
    if not (number.isascii() and number.isdigit()) or rest not in {"", "0"}:
        raise InvalidArgument(field, event_id, "an event id like '17-0' is needed; '0-0' is before the first")
    return int(number)


async def stored_events(link: ShardLink, session_id: str, after: int, final: int | None = None) -> AsyncIterator[Event]:
    """Yield the events behind number `after`, up to `final` or to what is there now. Raises RedisUnavailable."""
    log, trail = _Log(link, session_id), Trail(after)
    while final is None or trail.seen < final:
        # It begins with the one seen last, which shows in the same step whether this is still the same log.
        page = await log.page(trail.seen, final, PAGE_EVENTS + 1)
        is_last = len(page) <= PAGE_EVENTS
        if not page or (page[0][0] == trail.seen and not trail.agrees(*page[0])):
            reset = await log.compare(trail)
            if reset is not None:
                yield reset
                continue
        if page and page[0][0] == trail.seen:
            del page[0]
        for (number, packed), event in zip(page, unpack_events(session_id, page), strict=True):
            if number > trail.seen + 1:
                yield trimmed_event(session_id, trail.seen, number)
            trail.add(number, packed)
            yield event
        if is_last:
            break
    if final is not None and trail.seen < final:  # it was there, and is not: the whole rest was removed, or is lost
        floor = await log.first(trail.seen + 1)
        if floor is not None:
            yield trimmed_event(session_id, trail.seen, floor)
        else:
            yield reset_event(session_id, final, trail.seen)


async def followed_events(
    link: ShardLink, session_id: str, after: int, *, on_silence: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Event]:
    """Yield the events behind number `after`, stored and to come, until the session is closed.

    `on_silence` is awaited when nothing has come for a while, or Redis was away; it may raise. Raises RedisUnavailable.
    """
    log, trail = _Log(link, session_id), Trail(after)
    reset = await log.compare(trail)
    while True:
        if reset is not None:
            yield reset
            reset = None
        pages = link.follow_stream(log.key, f"{trail.seen}-0", owned_by=link.keys.session(session_id))
        async with contextlib.aclosing(pages):
            async for entries in pages:
                if not entries:
                    reset = await log.compare(trail)
                    if reset is not None:
                        break
                    if on_silence is not None:
                        await on_silence()
                for entry_id, fields in entries:
                    number, packed = event_number(entry_id), fields[1]
                    if number > trail.seen + 1:
                        yield trimmed_event(session_id, trail.seen, number)
                    trail.add(number, packed)
                    event = unpack_event(session_id, f"{number}-0", packed)
                    yield event
                    if isinstance(event, SessionClosedEvent):
                        return


class _Log:
    """A session's events, as they stand."""

    def __init__(self, link: ShardLink, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self.key: Final = link.keys.events(session_id)

    async def page(self, start: int, final: int | None, count: int) -> list[Entry]:
        """Read up to `count` events from number `start` on."""
        first, last = f"{start}-0", "+" if final is None else f"{final}-0"
        lane = self._link.reading_lane
        page = await self._link.persist(lambda: lane.execute_command("XRANGE", self.key, first, last, "COUNT", count))
        return [(int(entry_id[:-2]), packed) for entry_id, (_, packed) in page]  # n-0, [e, packed]

    async def first(self, start: int) -> int | None:
        """Give the number of the first event that is there from `start` on."""
        page = await self.page(start, None, 1)
        return page[0][0] if page else None

    async def compare(self, trail: Trail) -> ResetEvent | None:
        """Look whether what was seen is still there; if it isn't the trail goes back to where it is."""
        seen = trail.seen
        if not seen or await self._is_there(trail, seen):
            return None
        trail.go_back(await self._last_in_common(trail))
        return reset_event(self._session_id, seen, trail.seen)

    async def _is_there(self, trail: Trail, number: int) -> bool:
        page = await self.page(number, None, 1)
        if not page:
            return False
        return page[0][0] > number or trail.agrees(*page[0])  # trimmed, if a later one is the first that is there

    async def _last_in_common(self, trail: Trail) -> int:
        """Give the number of the last event that is known to be as it was seen, by halving."""
        points = trail.points()
        low, high = 0, len(points)
        while low < high:
            middle = (low + high) // 2
            if await self._is_there(trail, points[middle]):
                low = middle + 1
            else:
                high = middle
        if low:
            return points[low - 1]
        # None of what this reader has read: it can't know about what was read before it. If the log ends before that,
        # it was cut, most likely; if it doesn't, it is another one.
        newest = await self._link.persist(lambda: self._link.redis.xrevrange(self.key, count=1))
        end = event_number(newest[0][0]) if newest else 0
        return end if end < min(points, default=trail.seen) else 0
