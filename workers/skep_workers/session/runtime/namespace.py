"""The namespace of a session: the dict of its `__main__` module, from the first cell to the last.

It is never copied, replaced, or cleared as a whole. Functions keep the dict in which they were defined as their
globals, so with a second dict they would see stale names. Cells run directly in this dict. Merging is for values from
outside: inputs and restored variables.
"""

import builtins
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from threading import RLock  # bound early: user code may patch threading
from types import CoroutineType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.errors.last_error import clear_last_error
from skep_workers.session.runtime.internals import ENGINE_INTERNALS, OWN_RESULTS, RESULT_NAMES


class MergeStrategy(StrEnum):
    """How a merge treats a name that is already bound.

    overwrite: use the new value. preserve: keep the old value. smart: use the new value, unless it would replace a
    function, a class or a module by plain data or None.
    """

    OVERWRITE = "overwrite"
    PRESERVE = "preserve"
    SMART = "smart"


_REFERENCES_IF_FORGOTTEN: Final = 3  # from the namespace, the local name, and getrefcount's argument
_DEFINITIONS: Final = (FunctionType, type, ModuleType)


class NamespaceManager:
    """Owns the dict that every cell runs in, which is also `sys.modules["__main__"].__dict__`."""

    def __init__(self) -> None:
        module = ModuleType("__main__", None)
        self.names: Final[dict[str, Any]] = module.__dict__
        self.names["__builtins__"] = builtins
        self._lock = RLock()
        self._module = module
        # Ids only, because a reference would keep a result alive that the user has deleted.
        self._pushed: dict[str, int] = {}

    def install(self) -> None:
        """Make the namespace the process's `__main__`."""
        sys.modules["__main__"] = self._module

    def renew_lock(self) -> None:
        """Create a new lock in a fork: a thread that doesn't exist there may have held the old one."""
        self._lock = RLock()

    def merge(self, values: Mapping[str, Any], strategy: MergeStrategy = MergeStrategy.OVERWRITE) -> list[str]:
        """Bind names from outside, except engine internals; return the names that were bound."""
        bound = []
        with self._lock:
            for name, value in values.items():
                if name in ENGINE_INTERNALS or not self._may_bind(name, value, strategy):
                    continue
                self.names[name] = value
                bound.append(name)
        return bound

    def _may_bind(self, name: str, value: object, strategy: MergeStrategy) -> bool:
        if name not in self.names or strategy is MergeStrategy.OVERWRITE:
            return True
        if strategy is MergeStrategy.PRESERVE:
            return False
        return not isinstance(self.names[name], _DEFINITIONS) or isinstance(value, _DEFINITIONS)

    def user_names(self) -> list[str]:
        """Return the names that cells have bound, in order of binding. Keys that aren't strings are omitted."""
        with self._lock:
            return [name for name in list(self.names) if isinstance(name, str) and name not in ENGINE_INTERNALS]

    def unbind_all_except(self, kept: AbstractSet[str]) -> list[Any]:
        """Unbind every name except these, reset the module's own names, and return the unbound values.

        The latest error is removed as well, because its frames hold the same values.
        """
        first = {**vars(ModuleType("__main__", None)), "__builtins__": builtins}
        with self._lock:
            gone = [self.names.pop(name) for name in list(self.names) if name not in kept and name not in first]
            self.names.update({name: value for name, value in first.items() if name not in kept})
        return gone + clear_last_error()

    def clear(self) -> None:
        """Unbind every user name one by one; keep engine internals."""
        with self._lock:
            for name in [name for name in self.names if name not in ENGINE_INTERNALS]:
                self.names.pop(name, None)

    def push_result(self, value: object) -> None:
        """Move `_` to `__` and `__` to `___`, and set `_`; do nothing for None.

        If user code has bound one of these names, or a built-in name `_`, as gettext does, the names belong to the
        user: none of them is changed until that name is deleted.
        """
        if value is None:
            return
        latest, older, oldest = RESULT_NAMES
        with self._lock:
            names, pushed = self.names, self._pushed
            if self._has_users_results() or hasattr(builtins, latest):
                return
            _close_if_forgotten(names, oldest)
            if older in names:
                names[oldest], pushed[oldest] = names[older], pushed[older]
            if latest in names:
                names[older], pushed[older] = names[latest], pushed[latest]
            names[latest], pushed[latest] = value, id(value)

    def note_own_results(self) -> bool:
        """Record for later processes which result names belong to the user; return whether that has changed.

        To be called at a cell's end. Very fast while there are none.
        """
        if OWN_RESULTS not in self.names and not self._has_users_results():
            return False
        with self._lock:
            names, pushed = self.names, self._pushed
            users = [name for name in RESULT_NAMES if name in names and id(names[name]) != pushed.get(name)]
            if users == self.names.get(OWN_RESULTS, []):
                return False
            if users:
                self.names[OWN_RESULTS] = users
            else:
                del self.names[OWN_RESULTS]
            return True

    def adopt_restored_results(self) -> None:
        """Treat the restored values of the result names as results, except those recorded as the user's."""
        with self._lock:
            users = self.names.get(OWN_RESULTS, ())
            self._pushed = {
                name: id(self.names[name]) for name in RESULT_NAMES if name in self.names and name not in users
            }

    def _has_users_results(self) -> bool:
        names, pushed = self.names, self._pushed
        for name in RESULT_NAMES:  # noqa: SIM110 - any() with a generator takes twice as long, and every cell calls this
            if name in names and id(names[name]) != pushed.get(name):
                return True
        return False

    def cleanup_coroutines(self) -> int:
        """Close coroutine objects that were never awaited, so that they cause no warning later; return their number."""
        closed = 0
        with self._lock:
            for value in list(self.names.values()):
                if isinstance(value, CoroutineType) and value.cr_frame is not None and not value.cr_running:
                    value.close()
                    closed += 1
        return closed


def _close_if_forgotten(names: dict[str, Any], name: str) -> None:
    """Close a coroutine that only this name still references: its end would cause a warning about a missing await."""
    value = names.get(name)
    if type(value) is not CoroutineType or value.cr_frame is None or value.cr_running:
        return
    if sys.getrefcount(value) <= _REFERENCES_IF_FORGOTTEN:
        value.close()
