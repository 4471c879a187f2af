"""Describes errors of other libraries without quoting user data: the only module that does so.

The text of such an error may contain the data that it failed on: the Redis driver quotes a whole pipeline, `repr` of a
UnicodeDecodeError all of its bytes, pydantic the rejected value. Logs, events and skep's own errors must never show
that, so they use the descriptions of this module.

A description contains: for skep's own errors their fields, except a rejected value or a cell's traceback; for the
driver and the server their messages, without commands and arguments; for an OSError the system's message; for pydantic
the rejected fields and the kind of error. For any other exception it contains only the type and where it was raised.
"""

import asyncio
import re
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final

from pydantic import ValidationError
from redis.exceptions import RedisError

from skep_shared.errors import CellError, InvalidArgument, SkepError

MAX_TEXT_CHARS: Final = 300
MOST_DESCRIBED: Final = 5  # errors of a group

_PIPELINE_COMMAND: Final = re.compile(r"\ACommand # (\d+) \(.*\) of pipeline caused error: ", re.DOTALL)
_ARGUMENTS: Final = re.compile(r",? with args beginning with:.*", re.DOTALL)


def describe_error(exc: BaseException) -> str:
    """Return an error's type and a text without user data, in one line of at most some 300 characters."""
    name = type(exc).__name__
    if isinstance(exc, BaseExceptionGroup):
        described = "; ".join(describe_error(inner) for inner in exc.exceptions[:MOST_DESCRIBED])
        return f"{name}: {described}"
    text = _safe_text(exc)
    return f"{name}: {text}" if text else name


def reason_of(exc: BaseException) -> str:
    """Return the text of `describe_error` without the type, or only the type if there is no text."""
    return _safe_text(exc).rstrip(".") or type(exc).__name__


def without_payload(text: str) -> str:
    """Return an error text of the driver or the server without the commands and arguments that it quotes."""
    found = _PIPELINE_COMMAND.match(text)
    if found is not None:
        text = f"command {found[1]} of a pipeline: {text[found.end() :]}"
    return _ARGUMENTS.sub("", text)


def format_error(exc: BaseException) -> str:
    """Return a traceback as Python prints it, with each error as described by `describe_error`."""
    return "\n".join(_lines(exc, set()))


def log_safely(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the `exc_info` of a log event by a traceback without user data; a processor for structlog."""
    given = event.pop("exc_info", None)
    if given:
        exc = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
        if exc is None:  # exc_info=True refers to the error that is being handled
            exc = sys.exc_info()[1]
        if exc is not None:
            event["exception"] = format_error(exc)
    return event


def _safe_text(exc: BaseException) -> str:
    if isinstance(exc, InvalidArgument):
        text = f"{exc.field}: {exc.limit}"
    elif isinstance(exc, CellError):
        text = f"cell {exc.cell_id!r} of session {exc.session_id!r} {exc.status}"
    elif isinstance(exc, SkepError):
        text = str(exc)
    elif isinstance(exc, RedisError):
        text = without_payload(str(exc))
    elif isinstance(exc, ValidationError):
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in found[:MOST_DESCRIBED])
    elif isinstance(exc, OSError) and exc.strerror:
        text = f"[Errno {exc.errno}] {exc.strerror}"
    elif type(exc) in {TimeoutError, ConnectionError, ConnectionResetError, asyncio.CancelledError}:
        text = str(exc)
    else:
        place = next(reversed(traceback.extract_tb(exc.__traceback__)), None)
        text = f"at {place.filename.rpartition('/')[2]}:{place.lineno}" if place is not None else ""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT_CHARS else f"{line[:MAX_TEXT_CHARS]}… ({len(line)} characters)"


def _lines(exc: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(exc))
    before = exc.__cause__ if exc.__cause__ is not None else None if exc.__suppress_context__ else exc.__context__
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "" if exc.__cause__ is None else "It is the direct cause of:"
    yield from _frames(exc.__traceback__)
    yield describe_error(exc)
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions[:MOST_DESCRIBED]:
            if id(inner) not in seen:
                yield from (f"  | {line}" for line in _lines(inner, seen))


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.format_tb(trace):
        yield from frame.rstrip("\n").split("\n")
