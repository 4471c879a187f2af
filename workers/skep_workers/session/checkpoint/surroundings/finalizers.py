"""What `weakref.finalize` is to call at the end of objects, where no variable holds the finalizer itself.

Finalizers of what cells define, or have a name for, are saved, beside the objects; one whose object nothing else in the
checkpoint reaches is left out, as its object would end with the restore. The others are of libraries, which make them
again.
"""

import weakref
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import FINALIZER
from skep_workers.session.checkpoint.reducers.definitions import is_definition
from skep_workers.session.checkpoint.surroundings.part import Part, Reading

_registry: Final[dict[Any, Any]] = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001 - as below


class Finalizers(Part):
    """The finalizers that are alive. Nothing public lists them; they hold themselves in a dict of their class."""

    name = "finalizers"

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._first: frozenset[Any] = frozenset()

    def begin(self) -> None:
        """Note the finalizers that exist before any cell runs: they are not the session's."""
        self._first = frozenset(_registry)

    def begin_as_twin(self) -> None:
        """Keep them: a fork has them too."""

    def read(self) -> Reading | None:
        """Return those that are new."""
        if _registry.keys() == self._first:
            return None
        named = set(map(id, self._names.values()))
        objects: dict[str, Any] = {}
        for finalizer in [each for each in _registry if each not in self._first]:
            call = finalizer.peek()
            if call is not None and (is_definition(type(call[0])) or id(call[0]) in named):
                objects[f"{FINALIZER}{type(call[0]).__name__})[{len(objects)}]"] = finalizer
        return ([], objects) if objects else None

    def restore(self, state: Any) -> None:
        """Do nothing: a finalizer that is made is one of those that are alive."""
