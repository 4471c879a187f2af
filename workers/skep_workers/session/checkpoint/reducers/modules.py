"""Modules, saved by name, or by value if they are the session's own; checkpoints refer to the functions defined here.

A module by value is made empty, and filled at the end of the stream of definitions. So its values may refer to the
module again, however many modules import each other.
"""

import builtins
import importlib
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry
from skep_workers.session.checkpoint.reducers.origins import MAIN, attribute_of, names_of, origins

_NOT_STATE: Final = frozenset({"__builtins__"})
# Attributes of a module, its spec and its loader that have paths.
_PATHS: Final = frozenset(
    {"__file__", "__cached__", "__path__", "origin", "_cached", "submodule_search_locations", "path"}
)


def reduce_module(module: ModuleType) -> Reduced:
    """Reduce a module to its name; one of the session's own to an empty module, see ModuleContent."""
    if module is sys.modules.get(MAIN):
        return the_main_module, ()
    name = names_of(module).get("__name__")
    if origins.is_own(module):
        return make_own_module, (type(module), name)
    return importlib.import_module, (name,)


@dataclass(frozen=True, slots=True, eq=False)
class ModuleContent:
    """The content of a module that is saved by value. left_out: names that can't be saved."""

    module: ModuleType
    left_out: frozenset[str] = field(default=frozenset())

    def names(self) -> dict[str, Any]:
        """Return the names that are saved, with their values."""
        left_out = self.left_out | _NOT_STATE
        return {name: value for name, value in names_of(self.module).items() if name not in left_out}


def reduce_content(content: ModuleContent) -> Reduced:
    """Reduce the content of a module, and the names under which imports find it."""
    module = content.module
    known_as = tuple(name for name, found in list(sys.modules.items()) if found is module)
    return fill_module, (module, known_as, content.names(), origins.home)


def relocate(module: ModuleType, old: str, new: str) -> None:
    """Change the paths that imports use, when the session's directory has another path."""
    if old == new:
        return
    names = names_of(module)
    spec = names.get("__spec__")
    for holder in (names, _dict_of(spec), _dict_of(attribute_of(spec, "loader"))):
        for name in _PATHS & holder.keys():
            value = holder[name]
            if isinstance(value, str):
                holder[name] = _moved(value, old, new)
            elif type(value) is list:
                value[:] = [_moved(each, old, new) for each in value]
    if type(names.get("__path__", [])) is not list:
        importlib.invalidate_caches()  # a namespace package searches for its directories again


def _dict_of(value: Any) -> dict[str, Any]:
    found = attribute_of(value, "__dict__")
    return found if type(found) is dict else {}


def _moved(path: Any, old: str, new: str) -> Any:
    if not isinstance(path, str) or not f"{path}/".startswith(old):
        return path
    return (new + f"{path}/".removeprefix(old)).rstrip("/")


def the_main_module() -> ModuleType:
    """Return the session's `__main__`."""
    return sys.modules[MAIN]


def make_own_module(kind: type[ModuleType], name: str) -> ModuleType:
    """Return an empty module, without calling an `__init__` that a cell has defined for its class."""
    module = ModuleType.__new__(kind)
    ModuleType.__init__(module, name)
    names_of(module)["__builtins__"] = vars(builtins)
    return module


def fill_module(module: ModuleType, known_as: tuple[str, ...], names: dict[str, Any], home: str) -> ModuleType:
    """Fill a module, and enter it in `sys.modules` under the names that it had.

    home: the session's directory when the module was saved.
    """
    names_of(module).update(names)
    relocate(module, home, origins.home)
    origins.adopt(module)
    for name in known_as:
        sys.modules[name] = module
    return module


def modules_by_dict() -> dict[int, ModuleType]:
    """Return the modules that functions may belong to, by the id of their dict."""
    known = [value for value in list(registry.names.values()) if type(value) is ModuleType]
    known += [module for module in list(sys.modules.values()) if issubclass(type(module), ModuleType)]
    return {id(names_of(module)): module for module in known}
