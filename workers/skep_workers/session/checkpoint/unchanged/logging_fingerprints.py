"""Fingerprints of loggers, handlers, formatters and filters.

A logger is saved by its name, so the same logger is the same state. The other objects have attributes. For the
standard library's own classes it is known which values these can have.
"""

import io
import logging
import sys
from collections.abc import Callable
from threading import RLock
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import is_among
from skep_workers.session.checkpoint.reducers.stdlib.logging_objects import LOGGERS, PARTS

LOGGING_KINDS: Final = frozenset({*LOGGERS, *PARTS})
_MOST_PARTS: Final = 3  # a handler, its formatter, that one's style
_LOCK: Final = type(RLock())


def logging_fingerprint(
    value: Any, is_immutable: Callable[[object], bool], depth: int = _MOST_PARTS
) -> tuple[Any, ...] | None:
    """Return the objects that make up the state of one of LOGGING_KINDS; None if its state has other parts, too."""
    if is_among(type(value), LOGGERS):
        return (value,)
    if not depth:
        return None
    parts: list[Any] = [value]
    for name, part in vars(value).items():
        inner: tuple[Any, ...] | None = None
        if is_immutable(part) or type(part) is _LOCK or (name == "stream" and _is_saved_by_name(value, part)):
            inner = (part,)
        elif is_among(type(part), PARTS):
            inner = logging_fingerprint(part, is_immutable, depth - 1)
        elif type(part) is list:
            inner = _list_fingerprint(part, is_immutable, depth - 1)
        if inner is None:
            return None
        parts += (name, *inner)
    return tuple(parts)


def _list_fingerprint(items: list[Any], is_immutable: Callable[[object], bool], depth: int) -> tuple[Any, ...] | None:
    parts: list[Any] = [items]
    for item in items:
        inner = logging_fingerprint(item, is_immutable, depth) if is_among(type(item), PARTS) else None
        if inner is None:
            return None
        parts += inner
    return tuple(parts)


def _is_saved_by_name(handler: Any, stream: Any) -> bool:
    """Return whether a stream is one of the session's own, or an open file, which is saved as its path."""
    if isinstance(handler, logging.FileHandler):
        return stream is None or isinstance(stream, io.TextIOBase)
    return any(stream is known for known in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__))
