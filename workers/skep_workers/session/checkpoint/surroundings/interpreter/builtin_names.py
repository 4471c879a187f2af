"""Built-in names that cells have added, replaced or removed."""

import builtins
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.object_memory import identities, table
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_the_engines

_MODULE: Final = "builtins."
_MISSING: Final = object()


class BuiltinNames(Part):
    """The names of the module `builtins` that have changed since the start of the session."""

    name = "builtins"

    def __init__(self) -> None:
        self.prepare()

    def prepare(self) -> None:
        """Record the names, once, in the process that session processes are forked from."""
        self._table = b""
        self.begin()

    def begin(self) -> None:
        """Record the names that the process was started with, unless they are recorded already."""
        self._names = vars(builtins)
        if self._table and table(self._names) == self._table:
            return
        self._first = dict(self._names)
        self._identities = identities(tuple(self._names.values()))
        self._table = table(self._names)

    def begin_as_twin(self) -> None:
        """Record the names that the engine has bound again to its own functions."""
        for name, value in self._names.items():
            if self._first.get(name) is not value and is_the_engines(value):
                self._first[name] = value
        self._identities = identities(tuple(self._first.values()))

    def read(self) -> Reading | None:
        """Return the names that were removed, and the values of those that were set."""
        names = self._names
        now = table(names)
        if now and now == self._table:
            return None
        if identities(tuple(names.values())) == self._identities:
            self._table = now
            return None
        removed = [name for name in self._first if name not in names]
        changed = {
            _MODULE + name: value
            for name, value in names.items()
            if type(name) is str and self._first.get(name, _MISSING) is not value
        }
        return (removed, changed) if removed or changed else None

    def restore(self, state: Any) -> None:
        """Remove the names that cells have removed."""
        for name in state:
            self._names.pop(name, None)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the names that cells have set."""
        self._names.update({name.removeprefix(_MODULE): value for name, value in objects.items()})

    def forget(self, name: str, value: Any) -> None:
        """Set a name to its value at the start, or remove it."""
        name = name.removeprefix(_MODULE)
        if name in self._first:
            self._names[name] = self._first[name]
        else:
            self._names.pop(name, None)
