"""Read a session's events: the stored ones, page by page, and then new ones as they are written.

Event ids are dense, so a gap shows that retention has removed events; the reader gets `events.trimmed` in their place.
Redis may also go back to an earlier state, by a failover to a replica that lagged or a restart from an older file:
events that were read may then be gone, or other events have their numbers. So a reader that may be connected to another
or a restarted server first checks that the last event it has seen is unchanged. If it isn't, the reader gets
`events.reset` with the last event that still is the same, and continues after it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Final

from skep.link import ShardLink
from skep.log_fingerprint import Trail
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import InvalidArgument
from skep_shared.event_codec import unpack_event, unpack_events
from skep_shared.events import (
    Event,
    ResetEvent,
    SessionClosedEvent,
    event_number,
    reset_event,
    trimmed_event,
)

PAGE_EVENTS: Final = 1000
MAX_AHEAD_BYTES: Final = 1024 * 1024  # of a page during which the next one is read already: both are in memory

Run = tuple[int, list[bytes]]  # events that follow each other: the number of the first, and their bytes


def check_event_id(field: str, event_id: object) -> int:
    """Return n of `n-0` (or of `n`). Raises InvalidArgument."""
    text = event_id if isinstance(event_id, str) else ""
    number, _, rest = text.partition("-")
    if not (number.isascii() and number.isdigit()) or rest not in {"", "0"}:
        raise InvalidArgument(field, event_id, "an event id like '17-0' is needed; '0-0' is before the first")
    return int(number)


async def stored_events(link: ShardLink, session_id: str, after: int, final: int | None = None) -> AsyncIterator[Event]:
    """Yield the events after number `after`, up to `final` or to the last stored one. Raises RedisUnavailable."""
    log, trail = _Log(link, session_id), Trail(after)
    async with contextlib.aclosing(_Pages(log, final)) as pages:
        while final is None or trail.seen < final:
            runs, is_last = await pages.read_from(trail.seen)
            is_known = bool(runs) and runs[0][0] == trail.seen
            if not runs or (is_known and not trail.agrees(trail.seen, runs[0][1][0])):
                reset = await log.compare(trail)
                if reset is not None:
                    yield reset
                    continue
            for first, events in runs:
                if first > trail.seen + 1:
                    yield trimmed_event(session_id, trail.seen, first)
                start = max(first, trail.seen + 1)
                new = events[start - first :]
                trail.add_all(start, new)
                for event in unpack_events(session_id, start, new):
                    yield event
            if is_last:
                break
    if final is not None and trail.seen < final:  # it did exist: all the rest was removed, or is lost
        floor = await log.first(trail.seen + 1)
        if floor is not None:
            yield trimmed_event(session_id, trail.seen, floor)
        else:
            yield reset_event(session_id, final, trail.seen)


async def followed_events(
    link: ShardLink, session_id: str, after: int, *, on_silence: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[Event]:
    """Yield the events after number `after`, stored and new, until the session is closed.

    `on_silence` is awaited when there were no events for a while, or Redis was unreachable; it may raise. Raises
    RedisUnavailable.
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


class _Pages:
    """The pages of a log; the next one is read while the caller works on the one before it."""

    def __init__(self, log: "_Log", final: int | None) -> None:
        self._log = log
        self._final = final
        self._ahead: asyncio.Task[list[Run]] | None = None
        self._ahead_of = 0

    async def read_from(self, seen: int) -> tuple[list[Run], bool]:
        """Return the page from event `seen` on, and whether it is the last one.

        The page includes the event seen last, so that one read also shows whether the log is still the same.
        """
        if self._ahead is not None and self._ahead_of == seen:
            runs = await self._ahead
        else:
            runs = await self._read(seen)
        await self.aclose()
        is_last = sum(len(events) for _, events in runs) <= PAGE_EVENTS
        if not is_last and sum(sum(map(len, events)) for _, events in runs) <= MAX_AHEAD_BYTES:
            self._ahead_of = runs[-1][0] + len(runs[-1][1]) - 1
            self._ahead = asyncio.create_task(self._read(self._ahead_of), name=f"the next page of {self._log.key}")
        return runs, is_last

    async def _read(self, seen: int) -> list[Run]:
        return await self._log.page(seen, self._final, PAGE_EVENTS + 1)

    async def aclose(self) -> None:
        """Cancel the read of a page that is not needed any more."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await cancel_until_ended([ahead])
            if not ahead.cancelled():
                ahead.exception()  # retrieved: a later read of this page raises its own


class _Log:
    """The stored events of a session."""

    def __init__(self, link: ShardLink, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self.key: Final = link.keys.events(session_id)

    async def page(self, start: int, final: int | None, count: int) -> list[Run]:
        """Read up to `count` events from number `start` on."""
        command = ("XRANGE", self.key, f"{start}-0", "+" if final is None else f"{final}-0", "COUNT", count)
        lane = self._link.reading_lane
        page = await self._link.persist(lambda: lane.execute_command(*command))
        if not page:
            return []
        events = [packed for _, (_, packed) in page]  # entry: n-0, [e, packed]
        first = event_number(page[0][0])
        if event_number(page[-1][0]) - first == len(page) - 1:
            return [(first, events)]
        numbers = [event_number(entry_id) for entry_id, _ in page]
        gaps = [place for place in range(1, len(page)) if numbers[place] != numbers[place - 1] + 1]
        return [(numbers[start], events[start:end]) for start, end in pairwise([0, *gaps, len(page)])]

    async def first(self, start: int) -> int | None:
        """Return the number of the first stored event from `start` on; None if there is none."""
        page = await self.page(start, None, 1)
        return page[0][0] if page else None

    async def compare(self, trail: Trail) -> ResetEvent | None:
        """Return None if the last event seen is unchanged; otherwise reset the trail to the last unchanged one."""
        seen = trail.seen
        if not seen or await self._is_unchanged(trail, seen):
            return None
        trail.go_back(await self._last_in_common(trail))
        return reset_event(self._session_id, seen, trail.seen)

    async def _is_unchanged(self, trail: Trail, number: int) -> bool:
        page = await self.page(number, None, 1)
        if not page:
            return False
        first, events = page[0]
        return first > number or trail.agrees(first, events[0])  # it was trimmed where only later ones are stored

    async def _last_in_common(self, trail: Trail) -> int:
        """Return the number of the last event that is known to be unchanged, by bisection."""
        points = trail.points()
        low, high = 0, len(points)
        while low < high:
            middle = (low + high) // 2
            if await self._is_unchanged(trail, points[middle]):
                low = middle + 1
            else:
                high = middle
        if low:
            return points[low - 1]
        # None of the events that this reader remembers is unchanged, and it knows nothing of earlier ones. A log that
        # ends before them was most likely cut there; one that doesn't is another log.
        newest = await self._link.persist(lambda: self._link.redis.xrevrange(self.key, count=1))
        end = event_number(newest[0][0]) if newest else 0
        return end if end < min(points, default=trail.seen) else 0
