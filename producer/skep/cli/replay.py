"""`skep replay`: a session's record again, from its first event or a later one."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from skep.cli.event_printers import Printer, RecordPrinter, print_event_json
from skep.cli.flags import Place
from skep.cli.places import named_cluster
from skep.cli.screen import Screen
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event

LONGEST_PAUSE_SECONDS: Final = 2.0


async def replay(
    session_id: str,
    *,
    after: str,
    follow: bool,
    speed: float | None,
    as_json: bool,
    raw: bool = False,
    place: Place,
) -> int:
    """Print the events behind `after`; gives the exit status."""
    if speed is not None and not speed > 0:
        raise InvalidArgument("--speed", speed, "a number above 0 is needed; 2 is twice as fast as it was")
    screen = Screen(merged=True, raw=raw)
    printer: Printer = print_event_json if as_json else RecordPrinter(screen)
    pace = _Pace(speed) if speed is not None else None
    count, last = 0, ""
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await session.info()  # an unknown session has no events either, which would say nothing
        if follow and not as_json:
            screen.busy("waiting for events; Ctrl-C leaves")
        async for event in session.events(after, follow=follow):
            if pace is not None:
                await pace.wait_for(event)
            printer(event)
            count, last = count + 1, event.id
    screen.idle()
    screen.end_line()
    if screen.out.is_terminal and not as_json:
        screen.note(f"{count} events, the last one is {last}" if count else "no events there")
    return 0


class _Pace:
    """The pauses of the record, `speed` times as fast, none over LONGEST_PAUSE_SECONDS; none for what is new."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._started_at = datetime.now(UTC)
        self._previous: datetime | None = None

    async def wait_for(self, event: Event) -> None:
        """Wait as long as the event came after the one before it."""
        previous, self._previous = self._previous, event.at
        if previous is not None and previous < event.at < self._started_at:
            await asyncio.sleep(min((event.at - previous).total_seconds() / self._speed, LONGEST_PAUSE_SECONDS))
