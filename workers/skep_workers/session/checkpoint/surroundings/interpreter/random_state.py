"""The generator of the module `random`."""

import random
import sys
from typing import Any

from skep_workers.session.checkpoint.surroundings.object_memory import memory_at
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_getstate, _setstate = random.getstate, random.setstate


class RandomState(Part):
    """The state of the generator, once it was used."""

    name = "random"

    def __init__(self) -> None:
        self._note()

    def begin(self) -> None:
        """Record the state that the process was started with."""
        self._note()

    def begin_as_twin(self) -> None:
        """Record the state that the fork was seeded with."""
        self._note()

    def _note(self) -> None:
        raw = _raw()
        self._first = _getstate() if raw is None else raw
        self._latest: tuple[Any, Any] = (None, None)

    def read(self) -> Reading | None:
        """Return the state. Making its 625 numbers after every cell would be slow, so the memory is compared first."""
        raw = _raw()
        if raw is None:
            state = _getstate()
            return None if state == self._first else (state, {})
        if raw == self._first:
            return None
        if raw != self._latest[0]:
            self._latest = (raw, _getstate())
        return self._latest[1], {}

    def restore(self, state: Any) -> None:
        """Set the state."""
        _setstate(state)


_generator = getattr(_getstate, "__self__", None)
_HEADER_BYTES = object.__basicsize__
_STATE_BYTES = random.Random.__base__.__basicsize__ - _HEADER_BYTES  # type: ignore[union-attr]
_IS_READABLE = type(_generator) is random.Random and sys.implementation.name == "cpython"


def _raw() -> tuple[Any, ...] | None:
    """Return the memory of the generator, which is its exact state; None if the generator isn't C's."""
    if not _IS_READABLE:
        return None
    return memory_at(id(_generator) + _HEADER_BYTES, _STATE_BYTES), _generator.gauss_next  # type: ignore[union-attr]
