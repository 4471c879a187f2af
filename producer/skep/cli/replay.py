"""`skep replay`: a session's record again, from its first event or a later one, or as a document."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from skep.cli.flags import Place
from skep.cli.notebook_output import NOTEBOOK, check_output, notebook_text, write_output
from skep.cli.output.event_printers import Printer, RecordPrinter, print_event_json
from skep.cli.output.screen import Screen
from skep.cli.places import named_cluster
from skep.export.html_page import notebook_page
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event

LONGEST_PAUSE_SECONDS: Final = 2.0
PAGES: Final = (".html", ".htm")


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
    """Print the events after `after`, and return the exit status."""
    if speed is not None and not speed > 0:
        raise InvalidArgument("--speed", speed, "a number above 0 is needed; 2 is twice as fast as it was")
    screen = Screen(merged=True, raw=raw)
    printer: Printer = print_event_json if as_json else RecordPrinter(screen)
    pace = _Pace(speed) if speed is not None else None
    count, last = 0, ""
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await session.info()  # raises for an unknown session, which has no events either
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


async def export(session_id: str, *, ipynb: str | None, html: str | None, place: Place, others: dict[str, bool]) -> int:
    """Write a session's record as a notebook, as a page of HTML, or both; return the exit status.

    others: the flags that go with the printed record, and whether each was used.
    """
    for flag, is_used in others.items():
        if is_used:
            raise InvalidArgument(flag, True, "--ipynb and --html write the whole record, and print nothing")
    notebook_path = None if ipynb is None else check_output("--ipynb", ipynb, "a notebook", (NOTEBOOK,))
    page_path = None if html is None else check_output("--html", html, "a page", PAGES)
    async with named_cluster(place) as cluster:
        document = await cluster.session(session_id).notebook()
    if notebook_path is not None:
        write_output("--ipynb", notebook_path, notebook_text(document))
    if page_path is not None:
        write_output("--html", page_path, notebook_page(document))
    return 0


class _Pace:
    """The pauses between recorded events, `speed` times as fast, at most LONGEST_PAUSE_SECONDS; none for new events."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._started_at = datetime.now(UTC)
        self._previous: datetime | None = None

    async def wait_for(self, event: Event) -> None:
        """Wait as long as the event came after the one before it."""
        previous, self._previous = self._previous, event.at
        if previous is not None and previous < event.at < self._started_at:
            await asyncio.sleep(min((event.at - previous).total_seconds() / self._speed, LONGEST_PAUSE_SECONDS))
