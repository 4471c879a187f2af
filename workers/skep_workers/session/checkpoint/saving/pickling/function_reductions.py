"""Reductions of functions: those of cells by value, all others by their names."""

import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import is_found
from skep_workers.session.checkpoint.reducers.language.functions import reduce_function
from skep_workers.session.checkpoint.reducers.library_names import find_in_module, library_place
from skep_workers.session.checkpoint.reducers.origins import origins
from skep_workers.session.checkpoint.reducers.stdlib.files import reduce_stream_method


def reduce_function_by_value(function: FunctionType) -> Any:
    """Reduce a function that a cell, or a module of the session's own, defines."""
    module = origins.own_module(function.__globals__)
    return reduce_function(function, {} if module is None else {id(function.__globals__): module})


def reduce_function_by_name(function: FunctionType, modules: Callable[[], dict[int, ModuleType]]) -> Any:
    """Reduce a function of the environment to its name, if it has one; otherwise by value.

    modules: returns the modules that functions may belong to, by the ids of their dicts.
    """
    module = sys.modules.get(function.__module__ or "")
    if module is None or vars(module) is not function.__globals__:
        module = modules().get(id(function.__globals__))
    if module is not None and is_found(function, function.__module__, function.__qualname__):
        return NotImplemented
    if (method := reduce_stream_method(function)) is not NotImplemented:
        return method
    place = library_place(function, function.__module__, function.__qualname__)
    return reduce_function(function, modules()) if place is None else (find_in_module, place)
