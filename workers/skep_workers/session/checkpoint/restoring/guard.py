"""Calls of code in a restore: which one is running, how long it may take, and which ones are left out.

Such code may hang, or end its process. A process that only tries a restore records the running call in a shared page;
its parent reads there which call to leave out of the next attempt.
"""

import mmap
import struct
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Final, Self

from skep_shared.originals import os, signal
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.stored_names import STORED

CALL_SECONDS: Final = 5.0
SUSPECTS_SHARE: Final = 0.2
REPEAT_SECONDS: Final = 1.0  # code that swallows the first exception gets another one
MOST_ALARMS: Final = 3  # in one call; then the process ends, and the next process leaves that call out
MOST_WAITS: Final = 25  # further seconds, in one call, for the module code of a library: most can't be imported again
HUNG_EXIT: Final = 84
_OURS: Final = "skep_workers.session.checkpoint."
_HEAD: Final = struct.Struct("2qH")  # stream, offset of the call in it, length of the callee's name
_MOST_NAME_BYTES: Final = 200

OUR_NAMES: Final = frozenset(function.__qualname__ for function in STORED.values())

Call = tuple[int, int]  # index of a stream, offset in it


class CallTimeout(BaseException):
    """A call in a restore took too long; not an Exception, so that most `except` clauses don't catch it."""


@dataclass(slots=True)
class Avoided:
    """Calls that are not made, with reasons.

    calls: single calls. callees: all calls of a callee, by name. rest: if set, all calls except those of our own
    functions. suspects: callees that hung once; the next calls of them get a fraction of the time.
    """

    calls: dict[Call, str] = field(default_factory=dict)
    callees: dict[str, str] = field(default_factory=dict)
    rest: str = ""
    suspects: set[str] = field(default_factory=set)


class CallPage:
    """A page, shared with children that are forked later, that contains the running call of a process."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.leave()

    def enter(self, call: Call, callee: str) -> None:
        """Record the call that runs now."""
        name = callee.encode("utf-8", "backslashreplace")[:_MOST_NAME_BYTES]
        self._page[: _HEAD.size + len(name)] = _HEAD.pack(*call, len(name)) + name

    def leave(self) -> None:
        """Record that no call runs."""
        self._page[: _HEAD.size] = _HEAD.pack(-1, -1, 0)

    def read(self) -> tuple[Call, str] | None:
        """Return the call that runs, or ran when the process ended, and its callee; None if none ran."""
        stream, offset, length = _HEAD.unpack(self._page[: _HEAD.size])
        if stream < 0:
            return None
        return (stream, offset), self._page[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")

    def close(self) -> None:
        """Release the page."""
        self._page.close()


class Guard:
    """Limits the time of the calls that one restore makes; a context manager for the main thread."""

    def __init__(
        self,
        avoided: Avoided | None = None,
        page: CallPage | None = None,
        *,
        call_seconds: float = CALL_SECONDS,
        is_fatal: bool = False,
    ) -> None:
        """Prepare for these calls to leave out.

        is_fatal: the alarm ends the process. For a trial, since code that swallows every exception must end, too.
        """
        self._avoided = avoided or Avoided()
        self._page = page
        self._call_seconds = call_seconds
        self._is_fatal = is_fatal
        self._previous: dict[int, Any] = {}
        self._alarms = 0
        self._waits = 0
        self.stream = 0  # the index of the stream that is being read
        # Whether the call itself runs. Its caller resets it as the first thing in a `finally`: between the end of a
        # call and that, Python runs no handler of a signal. An alarm that came later would raise in our own code.
        self.is_calling = False

    def __enter__(self) -> Self:
        # The second signal is for C code that never returns: no Python handler would be called.
        handlers = {signal.SIGALRM: signal.SIG_DFL if self._is_fatal else self._raise, signal.SIGVTALRM: signal.SIG_DFL}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._disarm()
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def enter(self, offset: int, callee: str, more_seconds: float = 0) -> str:
        """Begin a call, and return ''; or return why it must not be made."""
        avoided, call = self._avoided, (self.stream, offset)
        rest = "" if callee in OUR_NAMES else avoided.rest
        reason = rest or avoided.calls.get(call) or avoided.callees.get(callee)
        if reason:
            return reason
        if self._page is not None:
            self._page.enter(call, callee)
        self._alarms = self._waits = 0
        seconds = self._call_seconds + more_seconds
        if callee in avoided.suspects:
            seconds *= SUSPECTS_SHARE
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds + MOST_ALARMS * REPEAT_SECONDS)
        return ""

    def leave(self) -> None:
        """End a call."""
        self._disarm()
        if self._page is not None:
            self._page.leave()

    @staticmethod
    def _disarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _raise(self, _number: int, frame: FrameType | None) -> None:
        if not self.is_calling:
            return  # the call has ended, or has not begun: then the alarm is repeated
        if self._waits < MOST_WAITS and _is_importing_library(frame):
            self._waits += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, (1 + MOST_ALARMS) * REPEAT_SECONDS)
            return  # the alarm is repeated
        self._alarms += 1
        if self._alarms > MOST_ALARMS:
            os._exit(HUNG_EXIT)
        raise CallTimeout(hung(self._call_seconds))


def _is_importing_library(frame: FrameType | None) -> bool:
    """Return whether the call that is running runs a module's code, which is no file of the session's directory."""
    home = f"{registry.home}/"
    while frame is not None and not str(frame.f_globals.get("__name__")).startswith(_OURS):
        code = frame.f_code
        if code.co_name == "<module>" and code.co_filename.startswith("/"):
            return not code.co_filename.startswith(home)
        frame = frame.f_back
    return False


def hung(seconds: float) -> str:
    """Return the reason for a call that took longer."""
    return f"restoring it takes longer than {seconds:g} s"
