"""The one namespace of a session: the dict of its `__main__` module, from the first cell to the last.

It is never copied, never replaced and never cleared wholesale. Functions keep the dict they were defined in as their
globals; a second dict would leave them with stale names. Cells run in it directly; merging is for what comes from
outside: inputs, restored variables.
"""

import builtins
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from threading import RLock  # bound early: user code may patch threading
from types import CoroutineType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.internals import ENGINE_INTERNALS, OWN_RESULTS, RESULT_NAMES


class MergeStrategy(StrEnum):
    """What a merge does with a name that is bound already.

    overwrite: the new value counts. preserve: the old one does. smart: the new one counts, unless it would put plain
    data, or None, in the place of a function, a class or a module.
    """

    OVERWRITE = "overwrite"
    PRESERVE = "preserve"
    SMART = "smart"


_REFERENCES_IF_FORGOTTEN: Final = 3  # the namespace's, the local name's, and getrefcount's own
_DEFINITIONS: Final = (FunctionType, type, ModuleType)


class NamespaceManager:
    """Owns the dict that every cell runs in, which is `sys.modules["__main__"].__dict__` too."""

    def __init__(self) -> None:
        module = ModuleType("__main__", None)
        self.names: Final[dict[str, Any]] = module.__dict__
        self.names["__builtins__"] = builtins
        self._lock = RLock()
        self._module = module
        # Ids only: a reference would keep a result alive that the user has deleted.
        self._pushed: dict[str, int] = {}

    def install(self) -> None:
        """Make the namespace the process's `__main__`."""
        sys.modules["__main__"] = self._module

    def renew_lock(self) -> None:
        """Take a new lock, in a fork: a thread that is not in it may have held the old one."""
        self._lock = RLock()

    def merge(self, values: Mapping[str, Any], strategy: MergeStrategy = MergeStrategy.OVERWRITE) -> list[str]:
        """Bind names from outside; gives those that were bound. Engine internals never are."""
        bound = []
        with self._lock:
            for name, value in values.items():
                if name in ENGINE_INTERNALS or not self._gives_way(name, value, strategy):
                    continue
                self.names[name] = value
                bound.append(name)
        return bound

    def _gives_way(self, name: str, value: object, strategy: MergeStrategy) -> bool:
        if name not in self.names or strategy is MergeStrategy.OVERWRITE:
            return True
        if strategy is MergeStrategy.PRESERVE:
            return False
        return not isinstance(self.names[name], _DEFINITIONS) or isinstance(value, _DEFINITIONS)

    def user_names(self) -> list[str]:
        """Return the names that cells have bound, in order of binding. A key that is no string is no name."""
        with self._lock:
            return [name for name in list(self.names) if isinstance(name, str) and name not in ENGINE_INTERNALS]

    def let_go(self, kept: AbstractSet[str]) -> list[Any]:
        """Unbind every name but these, and give the module's own their first values; gives what was unbound."""
        first = {**vars(ModuleType("__main__", None)), "__builtins__": builtins}
        with self._lock:
            gone = [self.names.pop(name) for name in list(self.names) if name not in kept and name not in first]
            self.names.update({name: value for name, value in first.items() if name not in kept})
        return gone

    def clear(self) -> None:
        """Unbind every name of the user's, one by one; engine internals stay."""
        with self._lock:
            for name in [name for name in self.names if name not in ENGINE_INTERNALS]:
                self.names.pop(name, None)

    def push_result(self, value: object) -> None:
        """Move `_` to `__` and `__` to `___`, and set `_`; None moves nothing.

        A name of these that user code has bound, or a `_` among the built-in names as gettext puts it there, is the
        user's: then none of them is touched, until it is deleted.
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
        """Note which names of results are the user's, for a process to come; returns whether that has changed.

        To be called at a cell's end; costs next to nothing while there are none.
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

    def take_results(self) -> None:
        """Take what a restore has brought under the names of results as such, but for what is noted as the user's."""
        with self._lock:
            users = self.names.get(OWN_RESULTS, ())
            self._pushed = {
                name: id(self.names[name]) for name in RESULT_NAMES if name in self.names and name not in users
            }

    def _has_users_results(self) -> bool:
        names, pushed = self.names, self._pushed
        for name in RESULT_NAMES:  # noqa: SIM110 - any() with a generator takes twice as long, and each cell asks
            if name in names and id(names[name]) != pushed.get(name):
                return True
        return False

    def cleanup_coroutines(self) -> int:
        """Close coroutine objects that nobody awaited, so that none complains when it goes; gives their number."""
        closed = 0
        with self._lock:
            for value in list(self.names.values()):
                if isinstance(value, CoroutineType) and value.cr_frame is not None and not value.cr_running:
                    value.close()
                    closed += 1
        return closed


def _close_if_forgotten(names: dict[str, Any], name: str) -> None:
    """Close a coroutine that this name alone still holds: its end would warn of an await that is missing, here."""
    value = names.get(name)
    if type(value) is not CoroutineType or value.cr_frame is None or value.cr_running:
        return
    if sys.getrefcount(value) <= _REFERENCES_IF_FORGOTTEN:
        value.close()
