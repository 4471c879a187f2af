"""The state of a session besides its names, part by part.

Each part reads what differs from the start of the session's process. Plain data is kept as one small value, which is
compared as a whole. Objects (a handler, a function, a class of a cell's) are saved with the variables, under a name
that no variable has. So objects that they share with variables remain shared, and one that can't be saved is reported
like a variable. A part that can't be restored is reported, and affects no other part.
"""

import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.surroundings.home import HOME, rebased
from skep_workers.session.checkpoint.surroundings.imports.search_path import SearchPath
from skep_workers.session.checkpoint.surroundings.interpreter.builtin_names import BuiltinNames
from skep_workers.session.checkpoint.surroundings.interpreter.codec_registry import CodecRegistry
from skep_workers.session.checkpoint.surroundings.interpreter.context_variables import ContextVariables
from skep_workers.session.checkpoint.surroundings.interpreter.decimal_context import DecimalContext
from skep_workers.session.checkpoint.surroundings.interpreter.environment import Environment
from skep_workers.session.checkpoint.surroundings.interpreter.finalizers import Finalizers
from skep_workers.session.checkpoint.surroundings.interpreter.hooks import Hooks, SignalHandlers
from skep_workers.session.checkpoint.surroundings.interpreter.logging_configuration import LoggingConfiguration
from skep_workers.session.checkpoint.surroundings.interpreter.random_state import RandomState
from skep_workers.session.checkpoint.surroundings.interpreter.settings import (
    Arguments,
    InterpreterLimits,
    ProcessSettings,
)
from skep_workers.session.checkpoint.surroundings.interpreter.time_zone import TimeZone
from skep_workers.session.checkpoint.surroundings.interpreter.warning_filters import WarningFilters
from skep_workers.session.checkpoint.surroundings.interpreter.working_directory import WorkingDirectory
from skep_workers.session.checkpoint.surroundings.libraries import library_parts
from skep_workers.session.checkpoint.surroundings.other_keys import OtherKeys
from skep_workers.session.checkpoint.surroundings.part import Part, Reading
from skep_workers.session.packages.directory import PackageDirectory

FUTURE_FLAGS: Final = "future_flags"
_OBJECTS: Final = (
    "objects"  # in a state: the name that an object was saved under -> its part, and the part's name for it
)
_Objects = dict[str, dict[str, Any]]  # by part


class Ambient:
    """Reads and restores the state around the namespace."""

    def __init__(self, namespace: dict[Any, Any]) -> None:
        """Set up the parts. namespace: the dict that cells run in."""
        self._directory = WorkingDirectory()
        self._environment, self._time_zone, self._path = Environment(), TimeZone(), SearchPath()
        self._is_set_up = False
        # In the order of restoring: the time zone depends on the environment, and hooks are last, when nothing else can
        # fail any more.
        parts: list[Part] = [
            self._environment,
            self._time_zone,
            InterpreterLimits(),
            self._path,
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
        """Do the slow part of reading once, in the process that session processes are forked from."""
        for part in self._parts.values():
            with suppress(Exception):  # the first checkpoint reports a part that can't be read
                part.prepare()

    def begin(self, home: str) -> None:
        """Start in a session's process, whose files are in this directory."""
        self._directory.home = home

    def set_up(self, variables: Mapping[str, str], directory: str) -> None:
        """Set the variables and enter the directory of the session's options. Raises OSError.

        Only once: a fork of a live session has both from its parent, where cells may have changed them.
        """
        if self._is_set_up:
            return
        self._is_set_up = True
        if variables:
            self._environment.set_given(variables)
        if "TZ" in variables:
            self._time_zone.set_given()
        self._directory.start = directory
        self._directory.enter_start()

    def enter_start(self) -> None:
        """Enter the directory of the session's options, after a restore that has failed. Raises OSError."""
        self._directory.enter_start()

    def make_room(self) -> None:
        """Remove what `set_up` has created, before files of a checkpoint are restored."""
        self._directory.leave_start()

    def note_start(self) -> None:
        """Record the present state as not to be saved: the engine has set up the process, and no cell has run."""
        for part in self._parts.values():
            part.begin()

    def use_packages(self, before: PackageDirectory | None, after: PackageDirectory) -> None:
        """Use the packages in a directory, in the place of the one from before, as if the process had begun so."""
        self._environment.change_from_start(lambda variables: after.variables(variables, before))
        self._path.change_from_start(lambda entries: after.search_path(entries, before))

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
            except Exception as exc:  # noqa: BLE001 - user code may have stored anything where a part reads
                self.lost[f"({name})"] = f"it can't be read: {describe(exc)}"
                continue
            if found is not None:
                state[name], objects = found
                for shown, value in objects.items():
                    unique = shown
                    while unique in names:
                        unique += "'"
                    names[unique], placed[unique] = value, (name, shown)
        if placed:
            state[_OBJECTS] = placed
        return state

    @staticmethod
    def has_objects(state: dict[str, Any]) -> bool:
        """Return whether objects belong to a state, which are saved with the variables."""
        return _OBJECTS in state

    @staticmethod
    def is_passive(state: dict[str, Any]) -> bool:
        """Return whether nothing in a state runs code of cells by itself: no signal handler, no tracing."""
        return SignalHandlers.name not in state and sys.gettrace() is None and sys.getprofile() is None

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the parts that loading the variables depends on."""
        state = rebased(state, self._directory.home)
        self._pending, self._notes = state, []
        for name, part in self._parts.items():
            if part.is_needed_by_loading and name in state and not self._attempt(name, part.restore, state[name]):
                del self._pending[name]
        if self._directory.name not in self._pending:
            self._attempt(self._directory.name, self._directory.enter_start)

    def finish(self, names: dict[str, Any]) -> list[str]:
        """Restore the other parts, after the variables; return notes on what could not be restored, and why.

        The objects that belong to the parts are removed from the restored names.
        """
        state, self._pending = self._pending, {}
        found = {unique: names.pop(unique) for unique in state.get(_OBJECTS, {}) if unique in names}
        self._restore_rest(state, _by_part(state, found))
        return self._notes

    def _restore_rest(self, state: dict[str, Any], objects: _Objects) -> None:
        for name, part in self._parts.items():
            if name not in state:
                continue
            found = objects.get(name, {})
            if part.is_needed_by_loading or self._attempt(name, part.restore, state[name]) or found:
                self._attempt(name, part.restore_objects, state[name], found)

    def _attempt(self, name: str, restore: Callable[..., None], *arguments: Any) -> bool:
        """Return whether restoring a part succeeded; an exception is noted."""
        try:
            restore(*arguments)
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - libraries are imported, objects of user code are used
            self._notes.append(f"{name}: not restored: {describe(exc)}")
            return False
        return True

    # --- in a fork of the live process, see twin.py -------------------------------------------------------------------

    def hold_objects(self, future_flags: int) -> None:
        """Hold the objects for a twin: setting up its process removes some of them from where they are read."""
        names: dict[str, Any] = {}
        self._held = _by_part(self.read(future_flags, names), names)

    def begin_as_twin(self, home: str, state: dict[str, Any]) -> None:
        """Continue in a fork, in this directory, at the state of the latest checkpoint."""
        self._directory.home = home
        self.restore(state)

    def note_start_as_twin(self) -> None:
        """Record what the engine and the fork have changed as not to be saved."""
        for part in self._parts.values():
            part.begin_as_twin()

    def take_over(self, state: dict[str, Any], kept: AbstractSet[str]) -> list[str]:
        """Restore the state again, without the objects that the checkpoint doesn't have; return notes, see `finish`."""
        objects, self._held = self._held, {}
        state = rebased(state, self._directory.home)
        for unique, (name, shown) in state.get(_OBJECTS, {}).items():
            if unique not in kept and shown in objects.get(name, {}):
                self._attempt(name, self._parts[name].forget, shown, objects[name].pop(shown))
        self._restore_rest(state, objects)
        return self._notes


def _by_part(state: dict[str, Any], names: dict[str, Any]) -> _Objects:
    objects: _Objects = {}
    for unique, (name, shown) in state.get(_OBJECTS, {}).items():
        if unique in names:
            objects.setdefault(name, {})[shown] = names[unique]
    return objects
