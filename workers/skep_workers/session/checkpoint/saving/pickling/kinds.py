"""Traits of classes: whether pickling and loading an instance runs code, and whose.

Finding them runs none of that code: class attributes are read as they are stored.
"""

import asyncio
import collections
import copyreg
from collections.abc import Set as AbstractSet
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
)
from typing import Any, Final, NamedTuple

from skep_workers.session.checkpoint.reducers.definitions import (
    class_attribute,
    class_names,
    is_compared_plainly,
    is_definition,
    is_made_by_c,
    module_of,
)
from skep_workers.session.checkpoint.reducers.owned_objects import LOGGERS

_TRUSTED_MODULES: Final = frozenset(
    {"builtins", "collections", "dataclasses", "datetime", "decimal", "fractions", "pathlib", "uuid", "re"}
    | {"_frozen_importlib", "_frozen_importlib_external"}  # specs and loaders of modules
)
# Packages whose classes are pickled by reducers without side effects and without waiting; a trial shows once what
# loading an instance does. Classes of any other package are pickled in a child, where an effect ends with the process.
_KNOWN_PACKAGES: Final = frozenset(
    {
        "matplotlib", "networkx", "numpy", "pandas", "polars", "pyarrow", "scipy", "shapely", "sklearn", "statsmodels",
        "sympy", "torch", "xarray",
    }
)  # fmt: skip
_CYTHON_FUNCTION: Final = ".cython_function_or_method"  # it has no module; it is saved by its name
_NUMPYS_OWN: Final = frozenset({"numpy", "numpy.dtypes"})  # arrays, scalars and dtypes
# Pickle refuses these at once: a session with tasks in the background need not fork a child to find that out.
_REFUSED: Final = frozenset({asyncio.Task, asyncio.Future})
_SAVE_HOOKS: Final = ("__reduce__", "__reduce_ex__", "__getstate__", "__getattribute__")
_ADDED_SAVE_HOOKS: Final = ("__getnewargs__", "__getnewargs_ex__", "__getattr__")
_LOAD_HOOKS: Final = ("__setstate__", "__getattr__", "__getattribute__", "__setattr__", "__new__", "__hash__")
_FILL_HOOKS: Final = ("append", "extend", "__setitem__", "add", "update")  # of containers' subclasses
_MODULES_OF_METACLASSES: Final = frozenset({"builtins", "abc", "enum", "typing"})
_MADE_BY_C: Final = (BuiltinFunctionType, WrapperDescriptorType, MethodDescriptorType)


class Traits(NamedTuple):
    """The traits of one class.

    is_own: a cell defined it.
    is_trusted: pickling and loading an instance runs no unknown code.
    loads_by_code: loading an instance runs code that is written in Python.
    hashes_by_state: its `__hash__` is Python code, which may need a state that isn't set yet.
    is_remade: a restore may make another value than was saved, since code of cells takes part.
    is_finalized: it has a `__del__`.
    """

    name: str
    is_own: bool
    is_trusted: bool
    loads_by_code: bool
    hashes_by_state: bool
    is_remade: bool
    is_finalized: bool


class Kinds:
    """The traits of classes, each found once; valid for one snapshot, as cells may change their classes."""

    def __init__(
        self, tried_shapes: AbstractSet[str] | None = None, tried_names: AbstractSet[str] = frozenset()
    ) -> None:
        """Start with the results of earlier trials.

        tried_shapes: shapes of cells' classes that are known to be restorable; None: all are.
        tried_names: names of library classes whose instances are known to be restorable.
        """
        self._traits: dict[type, Traits] = {}
        self._tried_shapes = tried_shapes
        self._tried_names = tried_names

    def traits(self, kind: type) -> Traits:
        """Return the traits of a class."""
        # A metaclass may define how its classes are hashed.
        found = self._traits.get(kind) if type(kind) is type else None
        if found is None:
            found = _traits(kind)
            is_known = found.name.partition(".")[0] in _KNOWN_PACKAGES or found.name == _CYTHON_FUNCTION
            if is_known and found.name in self._tried_names:
                found = found._replace(is_trusted=True)
            if type(kind) is type:
                self._traits[kind] = found
        return found

    def is_tried(self, kind: type) -> bool:
        """Return whether a class of a cell is known to be restorable."""
        return self._tried_shapes is None or shape(kind) in self._tried_shapes


def shape(kind: type) -> str:
    """Return the parts of a class that decide whether it can be made again.

    The values of its attributes don't count: they have traits of their own types.
    """
    names = class_names(kind)
    bases = [_full_name(base) for base in type.__dict__["__bases__"].__get__(kind)]
    return repr((_full_name(kind), _full_name(type(kind)), bases, names.get("__slots__"), sorted(map(str, names))))


def _full_name(kind: type) -> str:
    return f"{module_of(kind)}.{type.__dict__['__qualname__'].__get__(kind)}"


def _traits(kind: type) -> Traits:
    is_own = is_definition(kind)
    loads = is_own and _loads_by_code(kind)
    is_trusted = _is_trusted(kind, is_own=is_own, loads_by_code=loads)
    # Hashes of these packages raise where the state is missing: then the fast way of reading fails and the stream is
    # read object by object. Reading every frame object by object, because of a type of pandas', would take ten times
    # as long.
    is_known = module_of(kind).partition(".")[0] in _KNOWN_PACKAGES
    hooks = (*_SAVE_HOOKS, *_ADDED_SAVE_HOOKS, "__setstate__")
    return Traits(
        name=_full_name(kind),
        is_own=is_own,
        is_trusted=is_trusted,
        loads_by_code=loads,
        hashes_by_state=(is_own or not (is_trusted or is_known)) and _hashes_by_state(kind),
        is_remade=is_own and any(is_definition(class_attribute(kind, hook)) for hook in hooks),
        is_finalized=class_attribute(kind, "__del__") is not None and not is_made_by_c(kind),
    )


def _is_trusted(kind: type, *, is_own: bool, loads_by_code: bool) -> bool:
    if is_own:
        return not loads_by_code and _pickles_plainly(kind)
    if kind is BuiltinFunctionType or kind is CodeType or kind in _REFUSED or kind in LOGGERS:
        return True
    module = module_of(kind)
    return module in _TRUSTED_MODULES or (module in _NUMPYS_OWN and is_made_by_c(kind))


def _loads_by_code(kind: type) -> bool:
    hooks = _LOAD_HOOKS if not issubclass(kind, list | dict | set) else (*_LOAD_HOOKS, *_FILL_HOOKS)
    return any(_is_code(class_attribute(kind, hook)) for hook in hooks)


def _hashes_by_state(kind: type) -> bool:
    return type(class_attribute(kind, "__hash__")) is FunctionType and reduces_plainly(kind)


def reduces_plainly(kind: type) -> bool:
    """Return whether pickle or copyreg, and not the class, defines how instances are reduced."""
    return (is_compared_plainly(kind) and kind in copyreg.dispatch_table) or (
        class_attribute(kind, "__reduce_ex__") is object.__reduce_ex__
        and class_attribute(kind, "__reduce__") is object.__reduce__
    )


def is_common_metaclass(kind: type) -> bool:
    """Return whether classes of this metaclass are made again without unknown code."""
    return module_of(kind) in _MODULES_OF_METACLASSES


def _pickles_plainly(kind: type) -> bool:
    if any(class_attribute(kind, hook) is not object.__dict__.get(hook) for hook in _SAVE_HOOKS):
        return False
    return not any(_is_code(class_attribute(kind, hook)) for hook in _ADDED_SAVE_HOOKS)


def _is_code(value: Any) -> bool:
    """Return whether a class attribute is, or may be, Python code that is not dataclasses' or namedtuples' own."""
    function = value.__func__ if type(value) in {staticmethod, classmethod} else value
    if type(function) is FunctionType:
        return function.__code__.co_filename != "<string>" and function.__globals__ is not vars(collections)
    return function is not None and not isinstance(function, _MADE_BY_C)
