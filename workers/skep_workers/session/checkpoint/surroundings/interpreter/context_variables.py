"""Context variables of libraries that cells have set; those of cells are saved with the variables that hold them."""

import sys
from contextvars import ContextVar
from functools import partial
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.reducers.stdlib.context_variables import place_of
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_SAVED_OTHERWISE = frozenset({"numpy", "decimal", "skep_workers"})


class ContextVariables(Part):
    """The values of library modules' context variables in the context of cells."""

    name = "context variables"

    def __init__(self) -> None:
        self._places: dict[ContextVar[Any], str | None] = {}
        self._first: dict[ContextVar[Any], Any] = {}
        self._librarys: dict[ContextVar[Any], Any] = {}
        self._found = 0

    def begin(self) -> None:
        """Record the values that cells begin with."""
        self._first = dict(registry.context.items()) if registry.context is not None else {}
        self._librarys = {each: value for each, value in self._first.items() if self._place(each) is not None}

    def read(self) -> Reading | None:
        """Return the values by the variables' modules and names."""
        context = registry.context
        if context is None:
            return None
        if len(context) == len(self._first) and not any(
            context[each] is not self._librarys[each] for each in self._librarys
        ):
            return None
        objects = {}
        for variable, value in context.items():
            if self._first.get(variable, context) is not value and (place := self._place(variable)) is not None:
                objects[place] = value
        return ([], objects) if objects else None

    def _place(self, variable: ContextVar[Any]) -> str | None:
        # A module may bind it only later: it is searched again when more modules are loaded.
        if self._found != len(sys.modules):
            self._found = len(sys.modules)
            self._places = {each: place for each, place in self._places.items() if place is not None}
        if variable not in self._places:
            place = place_of(variable)
            is_saved_here = place is not None and place[0].partition(".")[0] not in _SAVED_OTHERWISE
            self._places[variable] = ":".join(place) if place is not None and is_saved_here else None
        return self._places[variable]

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the variables. The name of an object is the module and the name of its variable."""
        for name, value in objects.items():
            module, _, attribute = name.partition(":")
            variable = (
                getattr(sys.modules[module], attribute) if module in sys.modules else _imported(module, attribute)
            )
            registry.in_cells(partial(variable.set, value))


def _imported(module: str, attribute: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - needed only if the variable's module isn't loaded

    return getattr(import_module(module), attribute)
