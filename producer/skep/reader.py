"""Reading a session's events: what is stored, page by page, and then what comes."""

from collections.abc import AsyncIterator
from typing import Final

from skep.link import ShardLink
from skep_shared.errors import InvalidArgument
from skep_shared.events import EVENT_FIELD, Event, SessionClosedEvent, event_number, unpack_event

PAGE_EVENTS: Final = 1000


def check_event_id(field: str, event_id: object) -> int:
    """Give n of `n-0` (or of `n`). Raises InvalidArgument."""
    text = event_id if isinstance(event_id, str) else ""
    number, _, rest = text.partition("-")
    if not (number.isascii() and number.isdigit()) or rest not in {"", "0"}:
        raise InvalidArgument(field, event_id, "an event id like '17-0' is needed; '0-0' is before the first")
    return int(number)


async def stored_events(link: ShardLink, session_id: str, after: int, final: int | None = None) -> AsyncIterator[Event]:
    """Yield the events behind number `after`, up to `final` or to what is there now. Raises RedisUnavailable."""
    key = link.keys.events(session_id)
    last = "+" if final is None else f"{final}-0"
    while final is None or after < final:
        start = f"{after + 1}-0"
        page = await link.persist(lambda: link.redis.xrange(key, min=start, max=last, count=PAGE_EVENTS))  # noqa: B023
        for entry_id, fields in page:
            yield unpack_event(session_id, entry_id.decode(), fields[EVENT_FIELD])
        if len(page) < PAGE_EVENTS:
            return
        after = event_number(page[-1][0])


async def followed_events(link: ShardLink, session_id: str, after: int) -> AsyncIterator[Event]:
    """Yield the events behind number `after`, stored and to come, until the session is closed."""
    async for entries in link.follow_stream(link.keys.events(session_id), f"{after}-0"):
        for entry_id, fields in entries:
            event = unpack_event(session_id, entry_id.decode(), fields[1])
            yield event
            if isinstance(event, SessionClosedEvent):
                return
