"""Flush replacements of sys.stdout and sys.stderr when a cell ends, so that what the cell printed is its own output.

Scripts wrap the streams again, for instance with `io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")`. Such a
wrapper buffers some kilobytes. The end of a program would flush it, and a session goes on instead. A wrapper that is
not, or no longer, in `sys` is searched for among all objects, at the end of the cell that made it.

`flush` is user code. It is called on another thread, since it may block forever. Only a wrapper around the session's
own stream is flushed on the calling thread.
"""

import sys
import weakref
from collections.abc import Callable, Sequence
from contextvars import copy_context
from io import BufferedWriter, StringIO, TextIOWrapper
from typing import Any, Final

from skep_shared.originals import gc
from skep_workers.session.output.streams import CellBuffer, CellStream
from skep_workers.session.safeguards.native_threads import NativeThread

FLUSH_SECONDS: Final = 0.5
MOST_WRAPPERS: Final = 100
_get: Final = vars(sys).get


class ReplacedStreams:
    """Flushes the objects that cells have put in place of the session's streams. Only the main thread uses this."""

    def __init__(self, own: Sequence[CellStream]) -> None:
        """`own` are the session's stdout and stderr."""
        self._stdout, self._stderr = own
        self._known: dict[int, Callable[[], Any]] = {}  # by id: wrappers, and replacements at the last cell's end
        self._has_new_wrapper = False
        self._must_search = False
        self._flushing: NativeThread | None = None
        self._warned_of: set[int] = set()
        CellBuffer.on_wrapped = self._note_wrapper  # type: ignore[method-assign]

    def flush(self, warn: Callable[[str, str], None]) -> None:
        """Flush them at the end of a cell. This is part of the cell, and can be interrupted.

        A flush that fails does not fail the cell: it becomes a warning, once for each stream.
        """
        stdout, stderr = _get("stdout"), _get("stderr")
        if stdout is self._stdout and stderr is self._stderr and not self._must_search:
            return
        own = (self._stdout, self._stderr, None)
        before = [stream for stream in (find() for find in self._known.values()) if stream is not None]
        now = [stream for stream in (stdout, stderr) if not any(stream is each for each in own)]
        if self._has_new_wrapper:
            self._has_new_wrapper = False
            before += _wrappers_of([self._stdout.buffer, self._stderr.buffer])
        self._remember(*(each for each in before if _is_around_ours(each)), *now)
        for stream in {id(each): each for each in (*before, *now)}.values():
            problem = self._flush(stream)
            if problem and id(stream) not in self._warned_of:
                self._warned_of.add(id(stream))
                what = f"flush of a {type(stream).__qualname__} {problem}"
                warn("stream", f"what was printed last may be missing: {what}")

    def _note_wrapper(self) -> None:
        self._has_new_wrapper = self._must_search = True

    def _remember(self, *streams: Any) -> None:
        """Remember to flush these at the end of the next cell too, if they still exist."""
        self._known = {id(stream): _finder(stream) for stream in streams[-MOST_WRAPPERS:]}
        self._must_search = bool(self._known)

    def _flush(self, stream: Any) -> str:
        """Flush one stream; return what went wrong, or an empty string."""
        if type(stream) is StringIO:
            return ""
        if _is_around_ours(stream):
            return _try_flush(stream)
        if self._flushing is not None and self._flushing.is_alive():
            return "has not returned from an earlier call"
        problems: list[str] = []
        context = copy_context()
        self._flushing = NativeThread(lambda: problems.append(context.run(_try_flush, stream)), "skep-flush")
        try:
            self._flushing.start()
        except RuntimeError as exc:  # user code has used up its threads
            return f"can't be called: {exc}"
        self._flushing.join(FLUSH_SECONDS)
        return problems[0] if problems else f"takes longer than {FLUSH_SECONDS:g} s"


def _wrappers_of(buffers: list[Any]) -> list[Any]:
    """Return the wrappers of these buffers, the outermost first. Takes milliseconds where there are many objects."""
    inner = [each for each in gc.get_referrers(*buffers) if type(each) in {TextIOWrapper, BufferedWriter}]
    buffered = [each for each in inner if type(each) is BufferedWriter]
    outer = [each for each in gc.get_referrers(*buffered) if type(each) is TextIOWrapper] if buffered else []
    return [*outer, *inner]


def _is_around_ours(stream: Any) -> bool:
    """Return whether this wraps a stream of the session, so that its flush runs no user code."""
    try:
        inner = stream.buffer if type(stream) is TextIOWrapper else stream
        return type(inner.raw if type(inner) is BufferedWriter else inner) is CellBuffer
    except ValueError:  # it has been detached
        return False


def _try_flush(stream: Any) -> str:
    try:
        if not getattr(stream, "closed", False) and callable(flush := getattr(stream, "flush", None)):
            flush()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - user code, even SystemExit
        return f"raised {type(exc).__name__}"
    return ""


def _finder(stream: object) -> Callable[[], Any]:
    try:
        return weakref.ref(stream)
    except TypeError:
        return lambda: stream
