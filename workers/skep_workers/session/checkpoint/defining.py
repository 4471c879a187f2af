"""Functions, classes, enumerations, type parameters and modules made by hand, as bytes and back.

Each is made empty first and filled afterwards, so that whatever they hold may hold them. None of the hooks that cells
defined runs while a class is made again (`__init_subclass__`, `__set_name__`, a metaclass's methods): what they did is
part of the state that is restored.
"""

import abc
import builtins
import contextlib
import gc
import importlib
import sys
import types
import typing
from collections.abc import Iterator
from functools import partial
from pickle import PicklingError  # bound early: user code may patch pickle
from types import CellType, CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, Final

from cloudpickle import cloudpickle as _internals

from skep_workers.session.checkpoint.definitions import (
    MAIN,
    class_attribute,
    class_names,
    is_definition,
    is_handmade,
    is_made_by_c,
    registry,
)

Reduced = tuple[Any, ...]
# What a class has of its own accord: made with it, or found again when it is asked for.
_NOT_STATE: Final = frozenset(
    {"__dict__", "__weakref__", "__slots__", "__module__", "__qualname__", "_abc_impl", "__annotate_func__"}
)
_SET_ON_TYPES: Final = frozenset(
    {"__abstractmethods__", "__annotations__", "__doc__", "__dict__", "__module__", "__qualname__", "__type_params__"}
)
_IN_SKELETON: Final[tuple[str, ...]] = ("__module__", "__slots__", "__orig_bases__", "__doc__")


def the_namespace() -> dict[str, Any]:
    """Give the session's namespace."""
    return registry.names


def the_main_module() -> ModuleType:
    """Give the session's `__main__`."""
    return sys.modules[MAIN]


def definition(key: str) -> Any:
    """Give the definition of that key, restored before whatever names it."""
    try:
        return registry.definitions[key]
    except KeyError:
        raise LookupError(f"{key.partition(':')[2]}, which it needs, could not be restored") from None


# --- functions --------------------------------------------------------------------------------------------------------


def reduce_function(function: FunctionType, spaces: dict[int, ModuleType]) -> Reduced:
    """Save a function by value, with its own globals; `spaces`: id of a module's dict -> the module."""
    attributes, slots = _internals._function_getstate(function)  # noqa: SLF001 - the part of cloudpickle we reuse
    for name in ("__globals__", "__closure__"):
        slots.pop(name, None)
    slots["_cloudpickle_submodules"] = [module for module in slots["_cloudpickle_submodules"] if module is not None]
    type_parameters = getattr(function, "__type_params__", ())  # of `def f[T]`, from Python 3.12 on
    if type_parameters:
        slots["__type_params__"] = type_parameters
    code, closure = function.__code__, function.__closure__
    state = (attributes, slots)
    if function.__globals__ is registry.names:
        return make_function, (code, closure), state, None, None, set_function_state
    module = spaces.get(id(function.__globals__))
    space = function.__globals__ if module is None else module
    return make_function_of, (space, code, closure), state, None, None, set_function_state


def make_function(code: CodeType, closure: tuple[Any, ...] | None) -> FunctionType:
    """Make a function of the session's namespace; the rest of it comes as state."""
    return FunctionType(code, registry.names, None, None, closure)


def make_function_of(
    space: ModuleType | dict[str, Any], code: CodeType, closure: tuple[Any, ...] | None
) -> FunctionType:
    """Make a function of a module, or of a namespace of its own."""
    return FunctionType(code, space if isinstance(space, dict) else vars(space), None, None, closure)


def set_function_state(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function its attributes, after everything they mention has been made."""
    attributes, slots = state
    slots.pop("_cloudpickle_submodules", None)  # being restored has imported them
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)
    space = function.__globals__
    if space is not registry.names and len(space.get("__builtins__", ())) > 1:
        space["__builtins__"] = vars(builtins)  # as exec() gave it


def reduce_cell(cell: CellType) -> Reduced:
    """Save a closure's variable: the functions that share it, and what it holds, may be held by that again."""
    try:
        return CellType, (), (cell.cell_contents,), None, None, set_cell
    except ValueError:
        return CellType, ()


def set_cell(cell: CellType, state: tuple[Any]) -> None:
    """Give a cell what it holds."""
    [cell.cell_contents] = state


# --- classes ----------------------------------------------------------------------------------------------------------


def reduce_class(kind: type) -> Reduced:
    """Save a class by value."""
    names = class_names(kind)
    skeleton: dict[str, Any] = {name: names[name] for name in _IN_SKELETON if name in names}
    skeleton["__qualname__"] = type.__dict__["__qualname__"].__get__(kind)
    if isinstance(skeleton.get("__slots__"), Iterator):
        skeleton["__slots__"] = [name for name in names if type(names[name]) is MemberDescriptorType]
    if isinstance(names.get("__dict__"), property):
        skeleton["__dict__"] = names["__dict__"]
    skeleton |= {name: value for name, value in names.items() if _is_shadowed(type(kind), name)}
    registered: list[type] = []
    if "_abc_impl" in names:
        dump = abc._get_dump(kind)[0]  # type: ignore[attr-defined]  # noqa: SLF001 - as cloudpickle does
        registered = [found for found in (reference() for reference in dump) if found is not None]
    state = {
        name: value
        for name, value in names.items()
        if name not in _NOT_STATE and not _is_slot(kind, value) and not _is_shadowed(type(kind), name)
    }
    bases = type.__dict__["__bases__"].__get__(kind)
    arguments = (type(kind), type.__dict__["__name__"].__get__(kind), bases, skeleton, _is_enum(kind))
    return make_class, arguments, (state, registered), None, None, set_class_state


def _is_shadowed(meta: type, name: str) -> bool:
    """Tell whether setting an attribute of a class by this name would do something else, as for `__class__`."""
    found = class_attribute(meta, name)
    return found is not None and hasattr(type(found), "__set__") and name not in _SET_ON_TYPES


def _is_slot(kind: type, value: Any) -> bool:
    return type(value) is MemberDescriptorType and value.__objclass__ is kind


def _is_enum(kind: type) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(type(kind), enum.EnumType)


def make_class(meta: type, name: str, bases: tuple[type, ...], skeleton: dict[str, Any], is_raw: bool) -> type:
    """Make a class without its content; `is_raw`: without what its metaclass does for it, which is in its state."""
    if not is_raw:
        # The hooks of libraries run, as they keep count of classes outside of them; if they want more, none does.
        library = next(base for base in meta.__mro__ if not is_definition(base))
        with contextlib.suppress(Exception), _silenced(bases, own_only=True):
            if library is meta:
                return types.new_class(name, bases, {"metaclass": meta}, lambda names: names.update(skeleton))
            made: type = library.__new__(meta, name, bases, dict(skeleton))
            return made
    with _silenced(bases, own_only=False):
        return type.__new__(meta, name, bases, dict(skeleton))


def _do_nothing(_: type, /, **__: Any) -> None:
    pass


@contextlib.contextmanager
def _silenced(bases: tuple[type, ...], *, own_only: bool) -> Iterator[None]:
    """Keep the `__init_subclass__` of cells (or of all) from running meanwhile."""
    name = "__init_subclass__"
    silenced = []
    for base in dict.fromkeys(parent for each in bases for parent in each.__mro__):
        if name in vars(base) and base is not object and (is_definition(base) or not own_only):
            with contextlib.suppress(TypeError):  # made by C code
                original = vars(base)[name]
                type.__setattr__(base, name, classmethod(_do_nothing))
                silenced.append((base, original))
    try:
        yield
    finally:
        for base, original in silenced:
            type.__setattr__(base, name, original)


def set_class_state(kind: type, state: tuple[dict[str, Any], list[type]]) -> None:
    """Give a class its content."""
    attributes, registered = state
    for name, value in attributes.items():
        type.__setattr__(kind, name, value)
    for subclass in registered:
        abc.ABCMeta.register(kind, subclass)  # type: ignore[arg-type]


# --- enumerations -----------------------------------------------------------------------------------------------------


def reduce_member(member: Any, *, by_value: bool) -> Reduced:
    """Save a member of a cell's enumeration: by its name, or, where the enumeration itself is saved, by value."""
    kind = type(member)
    if not by_value:
        if kind._member_map_.get(member._name_) is member:
            return find_member, (kind, member._name_)
        return kind, (member._value_,)  # a combination of flags
    base: Any = next(base for base in kind.__mro__ if is_made_by_c(base))
    newargs = class_attribute(base, "__getnewargs__")
    arguments: tuple[Any, ...] = ()
    if newargs is not None:
        arguments = newargs(member)
    elif base is not object:
        arguments = base.__reduce__(member)[1]
    return make_member, (base, kind, *arguments), dict(vars(member)), None, None, set_member_state


def find_member(kind: Any, name: str) -> Any:
    """Give a member by name."""
    return kind._member_map_[name]


def make_member(base: type, kind: type, *arguments: Any) -> Any:
    """Make a member, before its enumeration knows it."""
    return base.__new__(kind, *arguments)


def set_member_state(member: Any, attributes: dict[str, Any]) -> None:
    """Give a member its attributes."""
    vars(member).update(attributes)


# --- type parameters --------------------------------------------------------------------------------------------------


def is_evaluated_late(value: Any) -> bool:
    """Tell whether cells' code may have to run for a bound, a default or what an alias stands for (Python 3.12)."""
    return any(type(part) is FunctionType for part in gc.get_referents(value))


def reduce_type_parameter(value: Any) -> Reduced:
    """Save a TypeVar, ParamSpec, TypeVarTuple, NewType or type alias. Raises PicklingError."""
    kind, name = type(value), value.__name__
    if kind is typing.NewType:
        return kind, (name, value.__supertype__), dict(vars(value))
    if kind not in {typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple}:
        if _mentions(value.__value__, value):
            raise PicklingError("a type alias that is a part of itself")
        return make_type_alias, (kind, name, value.__value__, value.__type_params__, value.__module__)
    keywords: dict[str, Any] = {}
    if kind is not typing.TypeVarTuple:
        keywords = {
            "bound": value.__bound__,
            "covariant": value.__covariant__,
            "contravariant": value.__contravariant__,
        }
        if getattr(value, "__infer_variance__", False):  # of `class C[T]`, from Python 3.12 on
            keywords["infer_variance"] = True
    if hasattr(value, "has_default") and value.has_default():  # from Python 3.13 on
        keywords["default"] = value.__default__
    constraints = getattr(value, "__constraints__", ())
    return make_type_parameter, (kind, name, constraints, keywords, value.__module__)


def _mentions(part: Any, alias: Any) -> bool:
    seen: set[int] = set()
    parts = [part]
    while parts:
        part = parts.pop()
        if part is alias:
            return True
        if id(part) not in seen:
            seen.add(id(part))
            parts += getattr(part, "__args__", ())
            if type(part) is type(alias):
                parts.append(part.__value__)
    return False


def make_type_parameter(
    kind: Any, name: str, constraints: tuple[Any, ...], keywords: dict[str, Any], module: str
) -> Any:
    """Make a TypeVar, a ParamSpec or a TypeVarTuple."""
    made = kind(name, *constraints, **keywords)
    made.__module__ = module
    return made


def make_type_alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...], module: str) -> Any:
    """Make a type alias; it is of the module that its maker is of."""
    names = {"__name__": module, "make": partial(kind, name, value, type_params=parameters)}
    return eval("make()", names)


# --- modules ----------------------------------------------------------------------------------------------------------


def reduce_module(module: ModuleType) -> Reduced:
    """Save a module by its name, or by value if it was made by hand."""
    if module is sys.modules.get(MAIN):
        return the_main_module, ()
    name = module.__name__
    if not is_handmade(module):
        return importlib.import_module, (name,)
    is_known = sys.modules.get(name) is module
    state = {key: value for key, value in vars(module).items() if key != "__builtins__"}
    return make_module, (name, is_known), state, None, None, set_module_state


def make_module(name: str, is_known: bool) -> ModuleType:
    """Make an empty module, known to imports if it was."""
    module = ModuleType(name)
    if is_known:
        sys.modules[name] = module
    return module


def set_module_state(module: ModuleType, names: dict[str, Any]) -> None:
    """Fill a module."""
    vars(module).update(names)
    vars(module)["__builtins__"] = vars(builtins)


def modules_by_dict() -> dict[int, ModuleType]:
    """Give the modules that functions may belong to, by the id of their dict."""
    known = [value for value in list(registry.names.values()) if type(value) is ModuleType]
    known += [module for module in list(sys.modules.values()) if issubclass(type(module), ModuleType)]
    return {id(vars(module)): module for module in known}
