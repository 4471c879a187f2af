"""The context of decimal arithmetic that cells run with, and the one that new threads begin with."""

import decimal
import sys
from decimal import Context, getcontext, setcontext
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.surroundings.object_memory import memory_at
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_OBJECT: Final = "decimal.getcontext()"
_FIELDS: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_TEMPLATE: Final = decimal.DefaultContext
_state: Final = Context.__reduce__


class DecimalContext(Part):
    """Precision, rounding, limits, flags and traps, if they aren't Python's defaults."""

    name = "decimal"

    def __init__(self) -> None:
        self._first = _state(_TEMPLATE)[1]
        self._template = _memory(_TEMPLATE)

    def begin(self) -> None:
        """Make the context of cells, which decimal makes on first access."""
        registry.in_cells(getcontext)

    def read(self) -> Reading | None:
        """Return the context, and the default of new threads' contexts."""
        context = registry.in_cells(getcontext)
        if type(context) is not Context:
            return (None, self._default()), {_OBJECT: context}
        fields = _state(context)[1]
        if fields == self._first and _memory(_TEMPLATE) == self._template:
            return None
        return (None if fields == self._first else _plain(fields), self._default()), {}

    def _default(self) -> tuple[Any, ...] | None:
        fields = _state(_TEMPLATE)[1]
        return None if fields == self._first else _plain(fields)

    def restore(self, state: Any) -> None:
        """Fill the contexts in place: variables may refer to them."""
        if isinstance(state[0], int):  # written by version 0.1.0: precision and rounding
            context = registry.in_cells(getcontext)
            context.prec, context.rounding = state
            return
        current, default = state
        if current is not None:
            registry.in_cells(lambda: _fill(getcontext(), current))
        if default is not None:
            _fill(_TEMPLATE, default)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Make a context of a cell's class the current one."""
        if _OBJECT in objects:
            registry.in_cells(lambda: setcontext(objects[_OBJECT]))


def _memory(context: Context) -> Any:
    """Return a value that is equal only while a context is the same: its memory, or its fields if it isn't C's."""
    return memory_at(id(context) + object.__basicsize__, _BYTES) if _IS_READABLE else _state(context)


_BYTES: Final = Context.__basicsize__ - object.__basicsize__
_IS_READABLE: Final = sys.implementation.name == "cpython" and not hasattr(_TEMPLATE, "__dict__")


def _plain(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    *numbers, flags, traps = fields
    return (*numbers, [signal.__name__ for signal in flags], [signal.__name__ for signal in traps])


def _fill(context: Context, fields: tuple[Any, ...]) -> None:
    *numbers, flags, traps = fields
    for name, value in zip(_FIELDS, numbers, strict=True):
        setattr(context, name, value)
    for signals, names in ((context.flags, flags), (context.traps, traps)):
        for signal in signals:
            signals[signal] = signal.__name__ in names
