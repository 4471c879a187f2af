"""The format of server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from typing import Final

from skep.gateway.problems import Problem, packed
from skep_shared.events import Event

CONTENT_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = b": keep-alive\n\n"


# Characters that many readers take for the end of a line, though this format and JSON don't.
_LINE_ENDS: Final = tuple((end.encode(), b"\\u%04x" % ord(end)) for end in "\x85\u2028\u2029")


def event_json(event: Event) -> bytes:
    """Return an event as JSON, in one line. A result has its value; its encoded form is left out."""
    data = event.model_dump_json(exclude={"data"}).encode()
    for end, escaped in _LINE_ENDS:
        if end in data:
            data = data.replace(end, escaped)
    return data


def frame(event: Event) -> bytes:
    """Return an event; its id is that from which a client resumes."""
    return b"id: %s\ndata: %s\n\n" % (event.id.encode(), event_json(event))


def error_frame(problem: Problem) -> bytes:
    """Return the reason why a stream ends before its session. It has no id, so the last event's remains."""
    return b"event: error\ndata: %s\n\n" % packed(problem)


def retry_frame(milliseconds: int, comment: str = "") -> bytes:
    """Return after how long a client is to resume."""
    return b"%sretry: %d\n\n" % (f": {comment}\n".encode() if comment else b"", milliseconds)
