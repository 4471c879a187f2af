"""Entries of the namespace whose keys are no strings: no variable, but `globals()[5] = x` makes one."""

from typing import Any

from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class OtherKeys(Part):
    """What `globals()` holds under keys that no code can name."""

    name = "other keys"

    def __init__(self, namespace: dict[Any, Any]) -> None:
        self._namespace = namespace

    def read(self) -> Reading | None:
        """Return the entries, each with its key."""
        try:
            "".join(self._namespace)  # the fastest look at the types of many
        except TypeError:
            others = [(key, value) for key, value in list(self._namespace.items()) if not isinstance(key, str)]
            return len(others), {_named(index): entry for index, entry in enumerate(others)}
        return None

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Put the entries back."""
        for key, value in objects.values():
            self._namespace[key] = value


def _named(index: int) -> str:
    return f"globals(), entry {index} whose key is no string"
