"""Where a module comes from, which decides how it is saved.

A module of the environment (the standard library, installed packages, extension modules) is saved by its name: every
worker can import it. So is a module of a package that the session has installed, since packages are restored first. A
module of the session's own is saved by value, like cells' functions and classes: a file in the session's directory or
in a temporary one, a module that was loaded by path or made by code, and one that a loader defined in cells has made.
So it doesn't matter whether the file was edited, deleted or reloaded since, and none of its code runs again.

Things that don't work: importing such a module again runs its side effects twice. It also binds what the file contains
now, without the changes that cells have made. A module's file doesn't show whether that would make a difference.
"""

import sys
import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from gc import get_referrers  # bound early: user code may patch gc
from importlib.machinery import EXTENSION_SUFFIXES
from sys import getrefcount
from types import ModuleType
from typing import Any, Final, TypeGuard

from skep_shared.originals import os

MAIN: Final = "__main__"
_CYTHONS: Final = ("_cython_", "cython_runtime")  # modules without a file, which modules made by Cython share
_TEMPORARY: Final = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")  # noqa: S108 - compared with, not written to
_INSTALLED: Final = (".dist-info", ".egg-info")  # installers create them next to packages
_HELD_HERE: Final = 3  # references to a dict that only we hold: ours, the loop's, and getrefcount's own
_NOWHERE: Final = "\0"  # before a session has begun; no path starts with it
_module_dict: Final[Any] = vars(ModuleType)["__dict__"]


def names_of(module: ModuleType) -> dict[str, Any]:
    """Return a module's dict, whatever its class defines about attributes."""
    names: dict[str, Any] = _module_dict.__get__(module)
    return names


def is_module(value: object) -> TypeGuard[ModuleType]:
    """Return whether a value is a module; unlike `isinstance`, without reading its `__class__`."""
    return issubclass(type(value), ModuleType)


def is_class(value: object) -> TypeGuard[type]:
    """Return whether a value is a class; likewise."""
    return issubclass(type(value), type)


class Origins:
    """The origins of a process's modules. A verdict holds as long as its module lives."""

    def __init__(self) -> None:
        self._home = _NOWHERE
        self._packages = _NOWHERE
        self._environment: tuple[str, ...] = ()
        self._temporary: tuple[str, ...] = _TEMPORARY
        self._verdicts: dict[int, tuple[weakref.ref[ModuleType], bool]] = {}
        self._spaces: dict[int, weakref.ref[ModuleType]] = {}  # own modules by the ids of their dicts
        self._strangers: dict[int, dict[str, Any]] = {}  # globals of functions that are no module's dict
        self._installed: dict[str, bool] = {}
        self._made_by_libraries: set[int] = set()  # ids of modules that are noted, so that `_forget` removes them
        self._restored: set[int] = set()
        # Own modules that are saved by name nevertheless, with the names in them that importing them again has to bind.
        self.imported_again: dict[str, tuple[ModuleType, frozenset[str]]] = {}
        self.replaced: frozenset[tuple[str, str]] = frozenset()  # (module, attribute) that cells have patched

    def prepare(self) -> None:
        """Record the modules that are loaded now, and the directories of others, as the environment."""
        for name, module in list(sys.modules.items()):
            if is_module(module) and name != MAIN:
                self._note(module, is_own=False)
        prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
        roots = [*prefixes, os.path.dirname(os.__file__), *map(str, sys.path)]
        found = {_as_prefix(os.path.abspath(root)) for root in roots if root}
        self._environment = tuple(sorted(found - {"/"}))
        temporary = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
        self._temporary = (*_TEMPORARY, *(_as_prefix(place) for place in temporary if place))

    def begin(self, home: str) -> None:
        """Set the directory of the session: modules that are imported from there are its own."""
        self._home = _as_prefix(home)

    def use_packages(self, directory: str) -> None:
        """Set the directory of the session's packages: modules that are imported from there are the environment's."""
        self._packages = _as_prefix(directory)

    @property
    def home(self) -> str:
        """The session's directory, with a slash at its end."""
        return self._home

    def is_own(self, module: ModuleType) -> bool:
        """Return whether a module is the session's own, and saved by value."""
        known = self._verdicts.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        # A preliminary answer: the module may define its own class, about which `_decide` asks this method.
        self._note(module, is_own=False)
        verdict = self._decide(module)
        self._note(module, is_own=verdict)
        return verdict

    def note_library(self, module: ModuleType) -> None:
        """Record a module that the environment has, or that one of its libraries has made."""
        self._note(module, is_own=False)
        self._made_by_libraries.add(id(module))

    def adopt(self, module: ModuleType) -> None:
        """Record a module that was restored by value as the session's own."""
        self._note(module, is_own=True)
        self._restored.add(id(module))

    def is_restored(self, module: ModuleType) -> bool:
        """Return whether a module was restored by value, and so not made from its file."""
        return id(module) in self._restored

    def import_again(self, module: ModuleType, names: frozenset[str]) -> None:
        """Reduce a module of the session's own by its name from now on, since these names in it can't be saved."""
        self._spaces.pop(id(names_of(module)), None)
        self._note(module, is_own=False)
        self.imported_again[names_of(module)["__name__"]] = module, names

    def save_by_value_again(self, module: ModuleType) -> None:
        """Reduce a module by value again, since its file has changed."""
        del self.imported_again[names_of(module)["__name__"]]
        self._note(module, is_own=True)

    def own_module(self, names: dict[str, Any]) -> ModuleType | None:
        """Return the session's own module that has this dict, None if there is none."""
        known = self._spaces.get(id(names))
        if known is not None:
            return known()
        if "__spec__" not in names or id(names) in self._strangers:
            return None
        module = sys.modules.get(names.get("__name__") or "")
        if not _has_dict(module, names):
            module = next((found for found in get_referrers(names) if _has_dict(found, names)), None)
        if module is None:
            self._strangers[id(names)] = names
            return None
        return module if self.is_own(module) else None

    def forget_strangers(self) -> None:
        """Release the dicts that no function has any more."""
        for names in list(self._strangers.values()):
            if getrefcount(names) <= _HELD_HERE:
                del self._strangers[id(names)]

    def is_of_session(self, kind: type) -> bool:
        """Return whether a class belongs to a cell or to a module of the session's own, by its `__module__`."""
        name = type.__dict__["__dict__"].__get__(kind).get("__module__")
        if name == MAIN:
            return True
        module = sys.modules.get(name) if isinstance(name, str) else None
        return is_module(module) and self.is_own(module)

    def is_from_environment(self, file: str) -> bool:
        """Return whether a file is part of the environment."""
        place = os.path.abspath(file)
        if place.startswith(self._packages):
            return True
        if place.startswith(self._home):
            return self._is_installed(place)
        return place.startswith(self._environment) or self._is_installed(place)

    def _note(self, module: ModuleType, *, is_own: bool) -> None:
        number, space = id(module), id(names_of(module))
        reference = weakref.ref(module, partial(self._forget, number, space))
        self._verdicts[number] = reference, is_own
        if is_own:
            self._spaces[space] = reference

    def _forget(self, number: int, space: int, reference: "weakref.ref[ModuleType]") -> None:
        if number in self._verdicts and self._verdicts[number][0] is reference:
            del self._verdicts[number]
        if self._spaces.get(space) is reference:
            del self._spaces[space]
        self._made_by_libraries.discard(number)
        self._restored.discard(number)

    def _decide(self, module: ModuleType) -> bool:
        names = names_of(module)
        name = names.get("__name__")
        if not isinstance(name, str) or name == MAIN:
            return False
        if self.is_of_session(type(module)):
            return True
        spec = names.get("__spec__")
        loader = attribute_of(spec, "loader") or names.get("__loader__")
        places = _places(spec, names)
        if loader is not None and self.is_of_session(loader if is_class(loader) else type(loader)):
            return True
        if not places:
            return spec is None and loader is None and self._is_handmade(module, name)
        if any(place.endswith(tuple(EXTENSION_SUFFIXES)) for place in places):
            return False
        if all(self.is_from_environment(place) for place in places):
            return not leads_to(name, module, places)
        return any(self._is_local(place) for place in places) or not leads_to(name, module, places)

    def _is_handmade(self, module: ModuleType, name: str) -> bool:
        if type(module) is not ModuleType or id(module) in self._made_by_libraries or name.startswith(_CYTHONS):
            return False
        above = sys.modules.get(name.rpartition(".")[0])
        return above is None or self.is_own(above)  # some libraries make their submodules in code

    def _is_local(self, place: str) -> bool:
        """Return whether a file can't be expected to exist on another worker."""
        return place.startswith((self._home, *self._temporary)) or not os.path.exists(place)

    def _is_installed(self, place: str) -> bool:
        """Return whether a file is below a directory that packages were installed to, as with `pip install --target`.

        Such modules are many and large, and are not edited.
        """
        directory = os.path.dirname(place)
        while directory.startswith(self._home):
            known = self._installed.get(directory)
            if known is None:
                try:
                    known = any(entry.endswith(_INSTALLED) for entry in os.listdir(directory))
                except OSError:
                    known = False
                self._installed[directory] = known
            if known:
                return True
            directory = os.path.dirname(directory)
        return False


origins: Final = Origins()


def _as_prefix(directory: str) -> str:
    return directory.rstrip("/") + "/"


def _has_dict(value: object, names: Mapping[str, Any]) -> bool:
    return is_module(value) and names_of(value) is names


def attribute_of(value: Any, name: str) -> Any:
    """Return an attribute of a spec or a loader, which may be user code's; None if there is none."""
    try:
        return getattr(value, name, None)
    except (Exception, SystemExit):  # noqa: BLE001 - see above
        return None


def _places(spec: Any, names: Mapping[str, Any]) -> list[str]:
    """Return the files, or the directories, that a module was loaded from according to its attributes."""
    origin, directories = attribute_of(spec, "origin"), attribute_of(spec, "submodule_search_locations")
    found: Iterable[Any] = ()
    if attribute_of(spec, "has_location") is True:
        found = [origin]
    elif directories:
        found = list(directories)
    elif spec is None or origin not in {"built-in", "frozen"}:
        found = [names.get("__file__")]
    return [os.path.abspath(place) for place in found if isinstance(place, str)]


def leads_to(name: str, module: ModuleType, places: list[str]) -> bool:
    """Return whether importing this name in a new process makes a module like this one."""
    known = sys.modules.get(name)
    if known is not None and known is not module:
        return False
    above = name.rpartition(".")[0]
    if above and known is module and above in sys.modules:
        return True
    tail = "/" + name.replace(".", "/")
    stems = [os.path.splitext(place)[0] for place in places]
    return any(stem.endswith((tail, f"{tail}/__init__")) for stem in stems)
