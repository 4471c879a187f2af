"""What a session has beside its names: directory, environment, search path, random state, warning filters.

Kept as one small value that is compared as a whole; the big ones (random states) are there only once they were used.
"""

import ctypes
import decimal
import os
import random
import sys
import warnings
from pathlib import Path
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.surroundings.home import rebased


class Ambient:
    """Reads and restores what is around the namespace."""

    def __init__(self) -> None:
        self._first_raw = dict(_raw_environment())
        self._first_environment = dict(os.environ)
        self._first_path = list(sys.path)
        self._first_filters = list(warnings.filters)
        self._note_random()
        self._home = ""

    def read(self, future_flags: int) -> dict[str, Any]:
        """Give the state, as plain data that can be compared."""
        state: dict[str, Any] = {"future_flags": future_flags, "home": self._home}
        if _raw_environment() != self._first_raw:
            environment = dict(os.environ)
            changed = {name: value for name, value in environment.items() if self._first_environment.get(name) != value}
            removed = [name for name in self._first_environment if name not in environment]
            state["environment"] = (changed, removed)
        if sys.path != self._first_path:
            state["path"] = list(sys.path)
        if warnings.filters != self._first_filters:
            state["filters"] = [item for item in warnings.filters if _is_plain_filter(item)]
        directory = _working_directory()
        if directory is not None and directory != self._home:
            state["directory"] = os.path.relpath(directory, self._home) if self._is_inside(directory) else directory
        if (drawn := self._drawn()) is not None:
            state["random"] = drawn
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            name, keys, *rest = numpy_random.get_state()
            state["numpy_random"] = (name, keys.tobytes(), *rest)
        context = registry.in_cells(decimal.getcontext)
        if (context.prec, context.rounding) != (28, decimal.ROUND_HALF_EVEN):
            state["decimal"] = (context.prec, context.rounding)
        return state

    def _note_random(self) -> None:
        """Take the state of the module's generator as the one that needs no saving."""
        raw = self._raw_random()
        self._first_random = random.getstate() if raw is None else raw
        self._latest_random: tuple[Any, Any] = (None, None)

    def _drawn(self) -> Any:
        """Give the state of the module's generator, None if it is as it was at first.

        Making its 625 numbers anew after every cell would cost most.
        """
        raw = self._raw_random()
        if raw is None:
            state = random.getstate()
            return None if state == self._first_random else state
        if raw == self._first_random:
            return None
        if raw != self._latest_random[0]:
            self._latest_random = (raw, random.getstate())
        return self._latest_random[1]

    @staticmethod
    def _raw_random() -> tuple[Any, ...] | None:
        """Give the memory of the generator, whose state it is to the last bit; None where it isn't one of C's."""
        generator = getattr(random.getstate, "__self__", None)
        if type(generator) is not random.Random or sys.implementation.name != "cpython":
            return None
        header, size = object.__basicsize__, random.Random.__base__.__basicsize__  # type: ignore[union-attr]
        return ctypes.string_at(id(generator) + header, size - header), generator.gauss_next  # type: ignore[attr-defined]

    def begin(self, home: str) -> None:
        """Take what is now as what needs no saving, at the start of a session in this directory."""
        self._home = home
        self._first_path = list(sys.path)
        self._note_random()

    def begin_as_twin(self, home: str, state: dict[str, Any]) -> None:
        """Take the state over in a fork, whose random module has been seeded anew."""
        self._home = home
        self._note_random()
        self.restore(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Put the state back, as far as this machine allows."""
        state = rebased(state, self._home)
        changed, removed = state.get("environment", ({}, []))
        os.environ.update(changed)
        for name in removed:
            os.environ.pop(name, None)
        if "path" in state:
            sys.path[:] = state["path"]
        if "filters" in state:
            warnings.filters[:] = state["filters"]  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001 - what the module's functions do
        if "directory" in state:
            path = Path(self._home, state["directory"])
            if path.is_dir():
                os.chdir(path)
        if "random" in state:
            random.setstate(state["random"])
        if "numpy_random" in state:
            import numpy as np  # noqa: PLC0415 - only where it was used

            name, keys, *rest = state["numpy_random"]
            np.random.set_state(  # noqa: NPY002 - the global state is what is restored
                (name, np.frombuffer(keys, dtype=np.uint32), *rest)
            )
        if "decimal" in state:
            context = registry.in_cells(decimal.getcontext)
            context.prec, context.rounding = state["decimal"]

    def _is_inside(self, directory: str) -> bool:
        return directory == self._home or directory.startswith(self._home + os.sep)


def _raw_environment() -> Any:
    """Give what can be compared with an earlier copy; os.environ itself would decode every value for that."""
    return getattr(os.environ, "_data", os.environ)


def _working_directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - after every cell
    except OSError:  # it was removed
        return None


def _is_plain_filter(item: Any) -> bool:
    return item[2] is Warning or item[2].__module__ == "builtins"
