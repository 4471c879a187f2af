"""Events of a session and of a cell: as a stream of server-sent events that resumes, or as JSON pages."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from skep.gateway.answers import EventsAnswer
from skep.gateway.context import Caller
from skep.gateway.event_stream import EventStream
from skep.gateway.routes.documentation import CellId, Reader, SessionId, problems, session_of
from skep.gateway.streams.sse import CONTENT_TYPE, event_json, frame
from skep.reader import check_event_id
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event, event_number
from skep_shared.states import SessionState

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["events"])

MOST_EVENTS: Final = 10_000
PAGE_BYTES: Final = 4 * 1024 * 1024

After = Annotated[
    str | None,
    Query(examples=["17-0"], description="only events after this one; 0-0 is before the first", max_length=30),
]
Limit = Annotated[int, Query(ge=1, le=MOST_EVENTS, description="most events of a JSON page")]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="as `after`, and takes precedence: browsers send it to resume"),
]
_DOCUMENTED = {
    200: {
        "model": EventsAnswer,
        "description": "A page of events; with `Accept: text/event-stream` a stream, with events as in a page. "
        "An event named `error` has a problem document: the stream ends then, and can be resumed.",
        "content": {
            CONTENT_TYPE: {"schema": {"type": "string"}, "example": 'id: 3-0\ndata: {"id":"3-0","kind":"output"}\n\n'}
        },
    }
}


@router.get(
    "/events",
    operation_id="getSessionEvents",
    summary="A session's events, live or stored",
    responses={
        **_DOCUMENTED,  # type: ignore[dict-item]
        204: {"description": "The session is closed, and there are no more events: don't resume."},
        **problems(404),
    },
)
async def get_session_events(
    request: Request,
    session_id: SessionId,
    caller: Reader,
    after: After = None,
    follow: Annotated[
        bool | None, Query(description="also new events, until the session is closed; the default of a stream")
    ] = None,
    limit: Limit = 1000,
    last_event_id: LastEventId = None,
) -> Response:
    """Return events in their order, each once, from any place on.

    `events.trimmed` stands for events that retention has removed, `events.reset` for a Redis that went back to an
    earlier state, also if `after` is beyond the last event.
    """
    number = _start(after, last_event_id)
    session = session_of(caller, session_id)
    info = await session.info()
    if not _wants_stream(request):
        if follow:
            raise InvalidArgument("follow", follow, f"it needs the header Accept: {CONTENT_TYPE}")
        return await _page(session.events(f"{number}-0"), number, limit)
    if info.state is SessionState.CLOSED and number == info.last_event:
        return Response(status_code=204)
    stream = EventStream(caller)
    if follow is False:
        stream.pages = _frames(caller, session.events(f"{number}-0"))
    else:
        stream.pages = caller.gateway.feeds.follow(caller.access.tenant, session, number)
    caller.slot.become_stream()
    return stream


@router.get(
    "/cells/{cell_id}/events",
    operation_id="getCellEvents",
    summary="A cell's events, live or stored",
    responses={
        **_DOCUMENTED,  # type: ignore[dict-item]
        204: {"description": "The cell has ended, and there are no more events: don't resume."},
        **problems(404, 410),
    },
)
async def get_cell_events(
    request: Request,
    session_id: SessionId,
    cell_id: CellId,
    caller: Reader,
    after: After = None,
    limit: Limit = 1000,
    last_event_id: LastEventId = None,
) -> Response:
    """Return the cell's events; a stream ends after its `cell.finished`, a page has those that are stored."""
    number = _start(after, last_event_id)
    session = session_of(caller, session_id)
    cell = session.cell(cell_id)
    outcome = await cell.outcome_now()
    if not _wants_stream(request):
        if outcome is not None:
            return await _page(cell.events(f"{number}-0"), number, limit)
        return await _page(_only_of(cell_id, session.events(f"{number}-0")), number, limit)
    caller.slot.become_stream()  # before anything is opened that would have to be closed
    source = cell.events(f"{number}-0")
    first: Event | None = None
    if outcome is not None:  # an error shows now, and so does that there is nothing left
        first = await anext(source, None)
        if first is None:
            return Response(status_code=204)
    stream = EventStream(caller)
    stream.pages = _frames(caller, source, first)
    return stream


def _start(after: str | None, last_event_id: str | None) -> int:
    """Return the number of the event after which to begin. Raises InvalidArgument."""
    if last_event_id:
        return _number("Last-Event-ID", last_event_id)
    return 0 if after is None else _number("after", after)


def _number(field: str, text: str) -> int:
    if len(text) > 22:  # more digits than an id of Redis has
        raise InvalidArgument(field, text, "an event id like '17-0' is needed; '0-0' is before the first")
    number = check_event_id(field, text)
    if number >= 2**63:
        raise InvalidArgument(field, text, "no event has so high a number")
    return number


def _wants_stream(request: Request) -> bool:
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return CONTENT_TYPE in accepted


async def _only_of(cell_id: str, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async with contextlib.aclosing(events):  # type: ignore[type-var]
        async for event in events:
            if event.cell_id == cell_id:
                yield event


async def _page(events: AsyncIterator[Event], after: int, limit: int) -> Response:
    """Return a JSON page of at most `limit` events, or fewer if they are large."""
    found: list[bytes] = []
    size, has_more = 0, False
    async with contextlib.aclosing(events):  # type: ignore[type-var]
        async for event in events:
            if len(found) >= limit or size > PAGE_BYTES:
                has_more = True
                break
            found.append(event_json(event))
            size += len(found[-1])
            after = event_number(event.id)
    end = b'],"next":"%d-0","has_more":%s}' % (after, b"true" if has_more else b"false")
    return Response(b'{"events":[' + b",".join(found) + end, media_type="application/json")


async def _frames(
    caller: Caller, events: AsyncIterator[Event], first: Event | None = None
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(events):  # type: ignore[type-var]
        if first is not None:
            yield frame(first)
        async for event in events:
            caller.gateway.metrics.events_sent += 1
            yield frame(event)
