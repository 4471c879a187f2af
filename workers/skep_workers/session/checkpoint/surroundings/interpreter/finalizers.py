"""Finalizers (`weakref.finalize`) that no variable holds.

Finalizers of objects whose classes cells have defined, or that a variable refers to, are saved alongside the objects. A
finalizer is left out if nothing else in the checkpoint reaches its object, which would end with the restore. The others
belong to libraries, which make them again.
"""

import weakref
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import FINALIZER
from skep_workers.session.checkpoint.reducers.definitions import is_definition
from skep_workers.session.checkpoint.surroundings.part import Part, Reading
from skep_workers.session.safeguards.private_names import private

_registry: Final[dict[Any, Any]] = private(weakref.finalize, "_registry", {}, "finalizers are not saved")


class Finalizers(Part):
    """The living finalizers. No public interface lists them; their class has them in a dict."""

    name = "finalizers"

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._first: frozenset[Any] = frozenset()

    def begin(self) -> None:
        """Note the finalizers that exist before any cell runs: they are not the session's."""
        self._first = frozenset(_registry)

    def begin_as_twin(self) -> None:
        """Do nothing: a fork has the same finalizers."""

    def read(self) -> Reading | None:
        """Return the new finalizers."""
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
        """Do nothing: making a finalizer registers it."""
