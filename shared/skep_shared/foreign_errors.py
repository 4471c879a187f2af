"""How an error that is not ours is told: the one place that puts foreign errors into words.

The text of a foreign error may hold whatever it failed on: the driver quotes a whole pipeline, `repr` of a
UnicodeDecodeError all of its bytes, pydantic the value that it refused. Logs, events and our own errors must never show
that, so they take the words of an error from here.

Told are: our own errors (whose fields are chosen), but not a value that was refused or a cell's traceback; what the
driver and the server say, without commands and arguments; the system's word on an OSError; which fields pydantic
refuses, and as what. Of any other exception only its type and where it was raised.
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

LONGEST_WORDS: Final = 300  # characters
MOST_TOLD: Final = 5  # errors of a group

_PIPELINE_COMMAND: Final = re.compile(r"\ACommand # (\d+) \(.*\) of pipeline caused error: ", re.DOTALL)
_ARGUMENTS: Final = re.compile(r",? with args beginning with:.*", re.DOTALL)


def describe_error(exc: BaseException) -> str:
    """Return an error's type and what may be told of it, in one line of at most some 300 characters."""
    name = type(exc).__name__
    if isinstance(exc, BaseExceptionGroup):
        told = "; ".join(describe_error(inner) for inner in exc.exceptions[:MOST_TOLD])
        return f"{name}: {told}"
    words = _words(exc)
    return f"{name}: {words}" if words else name


def reason_of(exc: BaseException) -> str:
    """Return what may be told of an error without its type, or its type if there is nothing."""
    return _words(exc).rstrip(".") or type(exc).__name__


def without_payload(text: str) -> str:
    """Return an error text of the driver or the server without the commands and arguments that it quotes."""
    found = _PIPELINE_COMMAND.match(text)
    if found is not None:
        text = f"command {found[1]} of a pipeline: {text[found.end() :]}"
    return _ARGUMENTS.sub("", text)


def format_error(exc: BaseException) -> str:
    """Return a traceback as Python prints it, with each error in the words of `describe_error`."""
    return "\n".join(_lines(exc, set()))


def log_safely(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn the `exc_info` of a log event into a traceback without foreign words; a processor for structlog."""
    given = event.pop("exc_info", None)
    if given:
        exc = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
        if exc is None:  # True means the error that is being handled
            exc = sys.exc_info()[1]
        if exc is not None:
            event["exception"] = format_error(exc)
    return event


def _words(exc: BaseException) -> str:
    if isinstance(exc, InvalidArgument):
        words = f"{exc.field}: {exc.limit}"
    elif isinstance(exc, CellError):
        words = f"cell {exc.cell_id!r} of session {exc.session_id!r} {exc.status}"
    elif isinstance(exc, SkepError):
        words = str(exc)
    elif isinstance(exc, RedisError):
        words = without_payload(str(exc))
    elif isinstance(exc, ValidationError):
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        words = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in found[:MOST_TOLD])
    elif isinstance(exc, OSError) and exc.strerror:
        words = f"[Errno {exc.errno}] {exc.strerror}"
    elif type(exc) in {TimeoutError, ConnectionError, ConnectionResetError, asyncio.CancelledError}:
        words = str(exc)
    else:
        place = next(reversed(traceback.extract_tb(exc.__traceback__)), None)
        words = f"at {place.filename.rpartition('/')[2]}:{place.lineno}" if place is not None else ""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST_WORDS else f"{line[:LONGEST_WORDS]}… ({len(line)} characters)"


def _lines(exc: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(exc))
    before = exc.__cause__ if exc.__cause__ is not None else None if exc.__suppress_context__ else exc.__context__
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "" if exc.__cause__ is None else "It is the direct cause of:"
    yield from _frames(exc.__traceback__)
    yield describe_error(exc)
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions[:MOST_TOLD]:
            if id(inner) not in seen:
                yield from (f"  | {line}" for line in _lines(inner, seen))


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.format_tb(trace):
        yield from frame.rstrip("\n").split("\n")
