"""Settings of the interpreter and the process that are read by one function and set by another."""

import gc
import locale
import os
import socket
import sys
import threading
from _locale import setlocale as _ask_locale  # the public one spends longer on its arguments than on the question
from collections.abc import Callable
from typing import Any

from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class InterpreterLimits(Part):
    """What deep or long values need when they are loaded."""

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


class ProcessSettings(Part):
    """Thread switches, stack sizes, garbage collection, time-outs of sockets, locale and file mode mask."""

    name = "process settings"

    def __init__(self) -> None:
        self._umask = os.umask
        self._mask = self._umask(0o022)
        self._umask(self._mask)
        self._getters = (
            sys.getswitchinterval,
            threading.stack_size,
            gc.get_threshold,
            gc.isenabled,
            socket.getdefaulttimeout,
        )
        self._setters: tuple[Callable[[Any], Any], ...] = (
            sys.setswitchinterval,
            threading.stack_size,
            lambda numbers: gc.set_threshold(*numbers),
            lambda is_enabled: gc.enable() if is_enabled else gc.disable(),
            socket.setdefaulttimeout,
            lambda name: locale.setlocale(locale.LC_ALL, name),
            self._umask,
        )
        self._first = self._now()

    def begin(self) -> None:
        """Take the settings that the process has been started with."""
        self._first = self._now()

    def _now(self) -> tuple[Any, ...]:
        interval, stack, threshold, is_enabled, timeout = self._getters
        name = _ask_locale(locale.LC_ALL, None)
        # Reading the mask means setting it. It is set to what it was last, so that the files of other threads get the
        # mode they ought to, unless a cell has just changed it.
        mask = self._umask(self._mask)
        if mask != self._mask:
            self._umask(mask)
            self._mask = mask
        return interval(), stack(), threshold(), is_enabled(), timeout(), name, mask

    def read(self) -> Reading | None:
        """Return every setting that was changed, None in the place of others."""
        now = self._now()
        if now == self._first:
            return None
        return [None if value == first else (value,) for value, first in zip(now, self._first, strict=True)], {}

    def restore(self, state: Any) -> None:
        """Set what was changed; what this machine doesn't have, a locale say, costs no other setting."""
        failed = []
        for setter, changed in zip(self._setters, state, strict=True):
            if changed is not None:
                try:
                    setter(*changed)
                except Exception as exc:  # noqa: BLE001 - the others are set, then all that failed is told
                    failed.append(f"{changed[0]!r}: {exc}")
        if failed:
            raise ValueError("; ".join(failed))


class Arguments(Part):
    """`sys.argv`."""

    name = "arguments"

    def __init__(self) -> None:
        self._first = [""]

    def read(self) -> Reading | None:
        """Return the arguments that cells have set: as data, or as the object that stands in their place."""
        now = sys.argv
        if type(now) is list and all(type(argument) is str for argument in now):
            return None if now == self._first else (list(now), {})
        return [], {"sys.argv": now}

    def restore(self, state: Any) -> None:
        """Set the arguments."""
        sys.argv = list(state)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the object in their place."""
        sys.argv = objects.get("sys.argv", sys.argv)
