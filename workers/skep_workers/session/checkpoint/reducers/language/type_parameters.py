"""Type variables, new types and type aliases of cells, as bytes and back.

From Python 3.12 on a bound, a default and the value of an alias are code that runs on first access. Checkpoints refer
to the functions here that make them.
"""

import gc
import typing
from functools import partial
from pickle import PicklingError  # bound early: user code may patch pickle
from types import FunctionType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced


def is_evaluated_late(value: Any) -> bool:
    """Return whether code of cells may run for a bound, a default or the value of an alias (Python 3.12)."""
    return any(type(part) is FunctionType for part in gc.get_referents(value))


def reduce_type_parameter(value: Any) -> Reduced:
    """Reduce a TypeVar, ParamSpec, TypeVarTuple, NewType or type alias. Raises PicklingError."""
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
    """Make a type alias; Python takes its module from the globals of the code that makes it."""
    names = {"__name__": module, "make": partial(kind, name, value, type_params=parameters)}
    return eval("make()", names)
