"""Names of library functions and classes that can't be found under their own `__module__` and `__qualname__`.

The `__module__` of some classes is a public module that is loaded on first access, as `numpy.rec` for `numpy.recarray`.
A module may have been removed from `sys.modules`. And a cell may have replaced the original: a new process has the
original under that name.
"""

import sys
import weakref
from functools import partial
from types import FunctionType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.origins import MAIN, is_module, names_of, origins

LibraryPlace = tuple[str, str]  # module and qualified name
_class_dict: Final = type.__dict__["__dict__"].__get__
_found: Final[dict[int, tuple[weakref.ref[Any], LibraryPlace]]] = {}


def library_place(value: Any, module_name: str | None, qualname: str) -> LibraryPlace | None:
    """Return the module and name under which a new process has this library function or class; None if none is known.

    Only to be called for a value that isn't found under its own name.
    """
    if not module_name or module_name == MAIN:
        return None
    if (module_name, qualname) in origins.replaced:
        return (module_name, qualname) if _is_of(value, module_name) else None
    known = _found.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    module = sys.modules.get(module_name)
    place = _search_library(value, module_name, qualname) if module is None else _alias(value, module_name, module)
    if place is not None:
        _found[id(value)] = weakref.ref(value, partial(_forget, id(value))), place
    return place


def _forget(number: int, _: "weakref.ref[Any]") -> None:
    _found.pop(number, None)


def is_from_library(kind: type) -> bool:
    """Return whether a class has a method that was defined in a file of the environment."""
    functions = (value for value in _class_dict(kind).values() if type(value) is FunctionType)
    files = (function.__globals__.get("__file__") for function in functions)
    return any(isinstance(file, str) and origins.is_from_environment(file) for file in files)


def find_in_module(module_name: str, qualname: str) -> Any:
    """Return the object under a qualified name in a module."""
    __import__(module_name)
    found: Any = sys.modules[module_name]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _is_of(value: Any, module_name: str) -> bool:
    """Return whether a function was made by a library module; for a class its `__module__` is trusted."""
    module = sys.modules.get(module_name)
    return type(value) is not FunctionType or (is_module(module) and value.__globals__ is names_of(module))


def _search_library(value: Any, module_name: str, qualname: str) -> LibraryPlace | None:
    top = module_name.partition(".")[0]
    if top in sys.modules and "." not in qualname:
        for name, module in list(sys.modules.items()):
            if not (name == top or name.startswith(f"{top}.")) or not is_module(module):
                continue
            if names_of(module).get(qualname) is value and not origins.is_own(module):
                return name, qualname
    functions = [value] if type(value) is FunctionType else _class_dict(value).values()
    for function in functions:
        if type(function) is FunctionType and _comes_from(function.__globals__, module_name):
            return module_name, qualname
    return None


def _alias(value: Any, module_name: str, module: Any) -> LibraryPlace | None:
    """Return the other name of a class without Python code in its module, such as `make_encoder` in `_json`."""
    if not is_module(module) or origins.is_own(module) or not issubclass(type(value), type):
        return None
    if any(type(each) is FunctionType for each in _class_dict(value).values()):
        return None
    return next(((module_name, name) for name, each in list(names_of(module).items()) if each is value), None)


def _comes_from(names: dict[str, Any], module_name: str) -> bool:
    """Return whether a dict belongs to a module of the environment that is no longer loaded."""
    file = names.get("__file__")
    if names.get("__name__") != module_name or names.get("__spec__") is None or not isinstance(file, str):
        return False
    return origins.is_from_environment(file)
