"""Hooks of the interpreter that cells have replaced: for exceptions, displays, streams and signals."""

import signal
import sys
import threading
import warnings
from _signal import getsignal  # type: ignore[import-not-found]  # the public one makes enumerations
from operator import is_
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.object_memory import identities
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_the_engines

_PLACES: Final = {
    "sys.excepthook": sys,
    "sys.displayhook": sys,
    "sys.unraisablehook": sys,
    "sys.breakpointhook": sys,
    "sys.stdin": sys,
    "sys.stdout": sys,
    "sys.stderr": sys,
    "threading.excepthook": threading,
    "warnings.showwarning": warnings,
    "warnings.formatwarning": warnings,
}
_LOGGING: Final = "logging"  # its function shows warnings once logging.captureWarnings was called


class Hooks(Part):
    """The functions and streams that the interpreter looks up by these names."""

    name = "hooks"

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Record the hooks that the process was started with."""
        self._first = self._now()

    def begin_as_twin(self) -> None:
        """Record the engine's hooks in this process."""
        now = zip(self._now(), self._first, strict=True)
        self._first = tuple(value if is_the_engines(value) else first for value, first in now)

    def forget(self, name: str, value: Any) -> None:
        """Set the hook of the interpreter or the engine again."""
        setattr(_PLACES[name], name.rpartition(".")[2], self._first[list(_PLACES).index(name)])

    @staticmethod
    def _now() -> tuple[Any, ...]:
        return (
            sys.excepthook,
            sys.displayhook,
            sys.unraisablehook,
            sys.breakpointhook,
            sys.stdin,
            sys.stdout,
            sys.stderr,
            threading.excepthook,
            warnings.showwarning,
            warnings.formatwarning,
        )

    def read(self) -> Reading | None:
        """Return the replaced hooks, and whether logging shows warnings."""
        now = self._now()
        if all(map(is_, now, self._first)):
            return None
        replaced = {
            name: value for name, value, first in zip(_PLACES, now, self._first, strict=True) if value is not first
        }
        logs = getattr(replaced.get("warnings.showwarning"), "__module__", None) == _LOGGING
        if logs:
            del replaced["warnings.showwarning"]
        return logs, replaced

    def restore(self, state: Any) -> None:
        """Make logging show warnings again."""
        if state:
            import logging  # noqa: PLC0415 - asyncio has imported it already

            logging.captureWarnings(True)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the other hooks."""
        for name, value in objects.items():
            setattr(_PLACES[name], name.rpartition(".")[2], value)


# Signals from outside. Signals for a fault of the process itself are handled by faulthandler.
_NOT_HANDLED: Final = {"SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
_SIGNALS: Final = {
    int(number): signal.Signals(number).name
    for number in signal.valid_signals()
    if number < signal.SIGRTMIN and signal.Signals(number).name not in _NOT_HANDLED
}


class SignalHandlers(Part):
    """The signal handlers of cells. Real-time signals are reserved for the engine."""

    name = "signals"

    def __init__(self) -> None:
        self._numbers: Final = tuple(_SIGNALS)
        self.begin()

    def begin(self) -> None:
        """Record the handlers that the process was started with."""
        self._first = tuple(map(getsignal, self._numbers))
        self._identities = identities(self._first)

    def begin_as_twin(self) -> None:
        """Record the engine's handlers in this process; a process whose cells handle signals has no twin."""
        self.begin()

    def read(self) -> Reading | None:
        """Return the signals that are ignored or have their default, and the handlers of others."""
        now = tuple(map(getsignal, self._numbers))
        if identities(now) == self._identities:
            return None
        pairs = zip(_SIGNALS.values(), now, self._first, strict=True)
        changed = {
            name: handler for name, handler, first in pairs if handler is not first and not is_the_engines(handler)
        }
        plain = {name: int(handler) for name, handler in changed.items() if isinstance(handler, int)}
        return plain, {_named(name): handler for name, handler in changed.items() if callable(handler)}

    def restore(self, state: Any) -> None:
        """Ignore the same signals, or set their default."""
        for name, handler in state.items():
            signal.signal(signal.Signals[name], handler)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the handlers that are objects."""
        for name in _SIGNALS.values():
            if _named(name) in objects:
                signal.signal(signal.Signals[name], objects[_named(name)])


def _named(name: str) -> str:
    return f"signal.{name}"
