"""Settings of the interpreter and the process, each with a function that reads it and one that sets it."""

import gc
import locale
import sys
import threading
from collections.abc import Callable
from ctypes import PyDLL, c_char_p, c_int
from gc import get_threshold as _gc_threshold  # all bound early: user code may patch these modules
from gc import isenabled as _gc_is_enabled
from os import umask as _umask
from socket import getdefaulttimeout as _default_timeout
from socket import setdefaulttimeout
from sys import getswitchinterval as _switch_interval
from threading import stack_size as _stack_size
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class InterpreterLimits(Part):
    """Limits that loading deep or long values depends on."""

    name = "interpreter limits"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self._getters = (sys.getrecursionlimit, sys.get_int_max_str_digits)
        self._setters = (sys.setrecursionlimit, sys.set_int_max_str_digits)
        self._recursion, self._digits = self._getters
        self._first = (self._recursion(), self._digits())

    def read(self) -> Reading | None:
        """Return both limits, once one was set."""
        now = (self._recursion(), self._digits())
        return None if now == self._first else (now, {})

    def restore(self, state: Any) -> None:
        """Set both limits."""
        for setter, value in zip(self._setters, state, strict=True):
            setter(value)


# Python's own function would decode the long name of a locale after every cell.
_locale_of: Final = PyDLL(None)["setlocale"]
_locale_of.restype, _locale_of.argtypes = c_char_p, (c_int, c_char_p)

_SETTERS: Final[tuple[Callable[[Any], Any], ...]] = (
    sys.setswitchinterval,
    threading.stack_size,
    lambda numbers: gc.set_threshold(*numbers),
    lambda is_enabled: gc.enable() if is_enabled else gc.disable(),
    setdefaulttimeout,
    lambda name: locale.setlocale(locale.LC_ALL, name.decode()),
    _umask,
)


class ProcessSettings(Part):
    """Thread switches, stack sizes, garbage collection, time-outs of sockets, locale and file mode mask."""

    name = "process settings"

    def __init__(self) -> None:
        self._mask = _umask(0o022)
        _umask(self._mask)
        self._stack = _stack_size()
        self._first = self._now()

    def begin(self) -> None:
        """Record the settings that the process was started with."""
        self._first = self._now()

    def _now(self) -> tuple[Any, ...]:
        # The mask can only be read by setting it. It is set to its last known value, so that files of other threads
        # get the right mode, unless a cell has just changed it.
        mask = _umask(self._mask)
        if mask != self._mask:
            _umask(mask)
            self._mask = mask
        stack = _stack_size(self._stack)  # without an argument it would be set to the system's
        if stack != self._stack:
            _stack_size(stack)
            self._stack = stack
        return (
            _switch_interval(),
            stack,
            _gc_threshold(),
            _gc_is_enabled(),
            _default_timeout(),
            _locale_of(locale.LC_ALL, None),
            mask,
        )

    def read(self) -> Reading | None:
        """Return every changed setting, and None in place of others."""
        now = self._now()
        if now == self._first:
            return None
        return [None if value == first else (value,) for value, first in zip(now, self._first, strict=True)], {}

    def restore(self, state: Any) -> None:
        """Set the changed settings; one that fails here, such as a missing locale, affects no other."""
        failed = []
        for setter, changed in zip(_SETTERS, state, strict=True):
            if changed is not None:
                try:
                    setter(*changed)
                except Exception as exc:  # noqa: BLE001 - the others are set, then all failures are reported
                    failed.append(f"{changed[0]!r}: {exc}")
        if failed:
            raise ValueError("; ".join(failed))


class Arguments(Part):
    """`sys.argv`."""

    name = "arguments"

    def __init__(self) -> None:
        self._first = [""]
        self._list = sys.argv

    def begin(self) -> None:
        """Note the list that the process has started with."""
        self._list = sys.argv

    def begin_as_twin(self) -> None:
        """Do nothing: a fork has the same list."""

    def read(self) -> Reading | None:
        """Return the arguments that cells have set: as data, or as the object that has replaced the list."""
        now = sys.argv
        if now is self._list and all(type(argument) is str for argument in now):
            return None if now == self._first else (list(now), {})
        return [], {"sys.argv": now}

    def restore(self, state: Any) -> None:
        """Set the arguments."""
        if state:
            sys.argv[:] = state

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the object that has replaced the list."""
        sys.argv = objects.get("sys.argv", sys.argv)
