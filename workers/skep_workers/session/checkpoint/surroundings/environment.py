"""The environment variables of the process."""

from typing import Any

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class Environment(Part):
    """What cells have changed in `os.environ`; what a worker gives its sessions is the worker's."""

    name = "environment"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self._first_raw = dict(_raw())
        self._first = dict(os.environ)
        self._latest: tuple[Any, Reading] | None = None

    def read(self) -> Reading | None:
        """Return the variables that were set, and the names of those removed."""
        raw = _raw()
        if raw == self._first_raw:
            return None
        if self._latest is not None and raw == self._latest[0]:
            return self._latest[1]
        now = dict(os.environ)
        changed = {name: value for name, value in now.items() if self._first.get(name) != value}
        self._latest = dict(raw), ((changed, [name for name in self._first if name not in now]), {})
        return self._latest[1]

    def restore(self, state: Any) -> None:
        """Set and remove the same variables."""
        changed, removed = state
        os.environ.update(changed)
        for name in removed:
            os.environ.pop(name, None)


def _raw() -> Any:
    """Return what can be compared with an earlier copy; `os.environ` itself would decode every value for that."""
    return getattr(os.environ, "_data", os.environ)
