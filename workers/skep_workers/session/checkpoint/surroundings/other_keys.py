"""Entries of the namespace whose keys are no strings, such as `globals()[5] = x` makes them."""

from typing import Any

from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class OtherKeys(Part):
    """The entries of `globals()` whose keys can't be variables."""

    name = "other keys"

    def __init__(self, namespace: dict[Any, Any]) -> None:
        self._namespace = namespace
        self._latest: list[tuple[Any, Any]] = []

    def read(self) -> Reading | None:
        """Return the entries, each with its key."""
        try:
            "".join(self._namespace)  # the fastest check of the types of all keys
        except TypeError:
            found = [(key, value) for key, value in list(self._namespace.items()) if not isinstance(key, str)]
            # The same pair as before shows that nothing has changed.
            known = {id(key): pair for pair in self._latest for key in pair[:1]}
            self._latest = [_same(known.get(id(pair[0])), pair) for pair in found]
            return len(found), {_named(index): pair for index, pair in enumerate(self._latest)}
        if self._latest:
            self._latest = []
        return None

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the entries."""
        for key, value in objects.values():
            self._namespace[key] = value


def _same(before: tuple[Any, Any] | None, now: tuple[Any, Any]) -> tuple[Any, Any]:
    return before if before is not None and before[1] is now[1] else now


def _named(index: int) -> str:
    return f"globals(), entry {index} whose key is no string"
