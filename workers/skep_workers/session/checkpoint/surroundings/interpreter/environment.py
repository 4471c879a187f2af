"""The environment variables of the process."""

from collections.abc import Callable, Mapping
from typing import Any

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class Environment(Part):
    """Changes of cells to `os.environ`; variables that a worker sets for its sessions are not saved."""

    name = "environment"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self._first_raw = dict(_raw())
        self._first = dict(os.environ)
        self._latest: tuple[Any, Reading] | None = None

    def begin(self) -> None:
        """Record the variables again if the engine has changed some since this part was made, as a sandbox does."""
        if _raw() != self._first_raw:
            self._first_raw = dict(_raw())
            self._first = dict(os.environ)

    def set_given(self, variables: Mapping[str, str]) -> None:
        """Set the variables of the session's options, which are not saved: each process is given them again."""
        os.environ.update(variables)
        self.begin()

    def change_from_start(self, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        """Set the variables that `change` returns, as if the process had begun with them."""
        now, first = change(os.environ), change(self._first)
        to_raw = os.fsencode if _raw() is not os.environ else str
        # One by one: to compare or copy all of them would write to the memory of each.
        for name, value in now.items():
            os.environ[name] = value
        for name, value in first.items():
            self._first[name] = value
            self._first_raw[to_raw(name)] = to_raw(value)
        self._latest = None

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
    """Return a dict for comparison with an earlier copy; `os.environ` itself would decode every value."""
    return getattr(os.environ, "_data", os.environ)
