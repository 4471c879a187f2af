"""What a session has besides its names, part by part.

Each part says what of it differs from the start of the session's process. Plain data is kept as one small value that is
compared as a whole. Objects (a handler, a function, a class of a cell's) are saved with the variables, under a name
that no variable has: so they share with variables what they shared, and one that can't be saved is told like a
variable. A part that can't be restored is told, and costs no other.
"""

import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.surroundings.builtin_names import BuiltinNames
from skep_workers.session.checkpoint.surroundings.codec_registry import CodecRegistry
from skep_workers.session.checkpoint.surroundings.context_variables import ContextVariables
from skep_workers.session.checkpoint.surroundings.decimal_context import DecimalContext
from skep_workers.session.checkpoint.surroundings.environment import Environment
from skep_workers.session.checkpoint.surroundings.finalizers import Finalizers
from skep_workers.session.checkpoint.surroundings.home import HOME, rebased
from skep_workers.session.checkpoint.surroundings.hooks import Hooks, SignalHandlers
from skep_workers.session.checkpoint.surroundings.libraries import library_parts
from skep_workers.session.checkpoint.surroundings.logging_configuration import LoggingConfiguration
from skep_workers.session.checkpoint.surroundings.other_keys import OtherKeys
from skep_workers.session.checkpoint.surroundings.part import Part, Reading
from skep_workers.session.checkpoint.surroundings.random_state import RandomState
from skep_workers.session.checkpoint.surroundings.search_path import SearchPath
from skep_workers.session.checkpoint.surroundings.settings import Arguments, InterpreterLimits, ProcessSettings
from skep_workers.session.checkpoint.surroundings.time_zone import TimeZone
from skep_workers.session.checkpoint.surroundings.warning_filters import WarningFilters
from skep_workers.session.checkpoint.surroundings.working_directory import WorkingDirectory

FUTURE_FLAGS: Final = "future_flags"
_OBJECTS: Final = (
    "objects"  # in a state: the name that an object was saved under -> its part, and the part's name for it
)
_Objects = dict[str, dict[str, Any]]  # by part


class Ambient:
    """Reads and restores what is around the namespace."""

    def __init__(self, namespace: dict[Any, Any]) -> None:
        """`namespace`: the dict that cells run in."""
        self._directory = WorkingDirectory()
        # In the order of restoring: the time zone is made of the environment, and hooks come when nothing else fails.
        parts: list[Part] = [
            Environment(),
            TimeZone(),
            InterpreterLimits(),
            SearchPath(),
            self._directory,
            *library_parts(),
            BuiltinNames(),
            CodecRegistry(),
            DecimalContext(),
            ContextVariables(),
            LoggingConfiguration(),
            SignalHandlers(),
            Arguments(),
            WarningFilters(),
            RandomState(),
            Hooks(),
            ProcessSettings(),
            OtherKeys(namespace),
            Finalizers(namespace),
        ]
        self._parts: Final = {part.name: part for part in parts}
        self._reads: list[tuple[str, Callable[[], Reading | None]]] = []
        self._modules = 0  # that were loaded when the parts to read were chosen
        self._pending: dict[str, Any] = {}
        self._held: _Objects = {}
        self._notes: list[str] = []
        self.lost: dict[str, str] = {}  # what could not be read after the last cell, and why

    def prepare(self) -> None:
        """Find out what takes long, once, in the process that session processes are forked of."""
        for part in self._parts.values():
            with suppress(Exception):  # what can't be read is told by the checkpoint that should have it
                part.prepare()

    def begin(self, home: str) -> None:
        """Start in a session's process, whose files are in this directory."""
        self._directory.home = home

    def note_start(self) -> None:
        """Take what is now as what needs no saving: the engine has taken over the process, and no cell has run."""
        for part in self._parts.values():
            part.begin()

    def read(self, future_flags: int, names: dict[str, Any]) -> dict[str, Any]:
        """Return the state as plain data that can be compared; objects that belong to it are added to `names`."""
        state: dict[str, Any] = {FUTURE_FLAGS: future_flags, HOME: self._directory.home}
        placed: dict[str, tuple[str, str]] = {}
        if self.lost or self._held:
            self.lost, self._held = {}, {}
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            loaded = [part for part in self._parts.values() if part.library is None or part.library in sys.modules]
            self._reads = [(part.name, part.read) for part in loaded]
        for name, read in self._reads:
            try:
                found = read()
            except Exception as exc:  # noqa: BLE001 - user code may have put anything where a part looks
                self.lost[f"({name})"] = f"it can't be read: {describe(exc)}"
                continue
            if found is not None:
                state[name], objects = found
                for told, value in objects.items():
                    unique = told
                    while unique in names:
                        unique += "'"
                    names[unique], placed[unique] = value, (name, told)
        if placed:
            state[_OBJECTS] = placed
        return state

    @staticmethod
    def has_objects(state: dict[str, Any]) -> bool:
        """Tell whether objects belong to a state, which are saved with the variables."""
        return _OBJECTS in state

    @staticmethod
    def is_still(state: dict[str, Any]) -> bool:
        """Tell whether nothing in a state has code of cells run by itself: no signal handler, no tracing."""
        return SignalHandlers.name not in state and sys.gettrace() is None and sys.getprofile() is None

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what variables need for being loaded."""
        state = rebased(state, self._directory.home)
        self._pending, self._notes = state, []
        for name, part in self._parts.items():
            if part.is_needed_by_loading and name in state and not self._attempt(name, part.restore, state[name]):
                del self._pending[name]

    def finish(self, names: dict[str, Any]) -> list[str]:
        """Put back the rest, once the variables are there; returns what could not be, and why.

        The objects that belong to it are taken out of the restored names.
        """
        state, self._pending = self._pending, {}
        found = {unique: names.pop(unique) for unique in state.get(_OBJECTS, {}) if unique in names}
        self._put(state, _by_part(state, found))
        return self._notes

    def _put(self, state: dict[str, Any], objects: _Objects) -> None:
        for name, part in self._parts.items():
            if name not in state:
                continue
            found = objects.get(name, {})
            if part.is_needed_by_loading or self._attempt(name, part.restore, state[name]) or found:
                self._attempt(name, part.restore_objects, state[name], found)

    def _attempt(self, name: str, restore: Callable[..., None], *arguments: Any) -> bool:
        """Return whether it went well; what it raised is told."""
        try:
            restore(*arguments)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - libraries are imported, objects of user code are used
            self._notes.append(f"{name}: not restored: {describe(exc)}")
            return False
        return True

    # --- a twin's, see twinning.py --------------------------------------------------------------------------------

    def hold(self, future_flags: int) -> None:
        """Keep the objects for a twin: putting its process together takes some of them out of their places."""
        names: dict[str, Any] = {}
        self._held = _by_part(self.read(future_flags, names), names)

    def begin_as_twin(self, home: str, state: dict[str, Any]) -> None:
        """Go on in a fork, in this directory, at the state of the latest checkpoint."""
        self._directory.home = home
        self.restore(state)

    def note_start_as_twin(self) -> None:
        """Take what the engine has renewed, and what a fork has changed, as what needs no saving."""
        for part in self._parts.values():
            part.begin_as_twin()

    def take_over(self, state: dict[str, Any], kept: AbstractSet[str]) -> list[str]:
        """Put the state in its places again, without the objects that the checkpoint doesn't have; see `finish`."""
        objects, self._held = self._held, {}
        state = rebased(state, self._directory.home)
        for unique, (name, told) in state.get(_OBJECTS, {}).items():
            if unique not in kept and told in objects.get(name, {}):
                self._attempt(name, self._parts[name].forget, told, objects[name].pop(told))
        self._put(state, objects)
        return self._notes


def _by_part(state: dict[str, Any], names: dict[str, Any]) -> _Objects:
    objects: _Objects = {}
    for unique, (name, told) in state.get(_OBJECTS, {}).items():
        if unique in names:
            objects.setdefault(name, {})[told] = names[unique]
    return objects
