"""Reductions of classes: those of cells by value, all others by their names."""

from functools import partial
from typing import Any

from skep_workers.session.checkpoint.reducers import registrations
from skep_workers.session.checkpoint.reducers.definitions import is_found, is_made_by_c, module_of
from skep_workers.session.checkpoint.reducers.language.classes import reduce_class
from skep_workers.session.checkpoint.reducers.libraries import models, structs
from skep_workers.session.checkpoint.reducers.library_names import find_in_module, library_place
from skep_workers.session.checkpoint.reducers.stdlib import c_types
from skep_workers.session.checkpoint.reducers.stdlib.standard_library import reduce_builtin_type


def reduce_class_by_value(kind: type, unfilled: set[int]) -> Any:
    """Reduce a class that a cell defined. unfilled: ids of models that are not pickled to the end yet."""
    if type(kind) is type:
        function, arguments, state, *rest = reduce_class(kind)
        return function, arguments, (*state, *registrations.registers_of(kind)), *rest
    if structs.is_struct(kind):
        return structs.reduce_struct(kind)
    if models.is_model(kind):
        return _reduce_model(kind, unfilled)
    return c_types.reduce_c_type(kind) if c_types.is_c_type(kind) else reduce_class(kind)


def _reduce_model(kind: type, unfilled: set[int]) -> Any:
    reduced = models.reduce_parametrised(kind, lambda part: id(part) not in unfilled)
    if reduced is not None:
        return reduced
    unfilled.add(id(kind))
    function, arguments, state, *rest = reduce_class(kind)
    filled = models.Filled(partial(unfilled.discard, id(kind)))
    return function, arguments, (*state, filled), *rest


def reduce_class_by_name(kind: type) -> Any:
    """Reduce a class of the environment to its name."""
    module, name = module_of(kind), type.__dict__["__qualname__"].__get__(kind)
    if not is_made_by_c(kind) and not is_found(kind, module, name):
        place = library_place(kind, module, name)
        if place is not None:
            return find_in_module, place
    return reduce_builtin_type(kind)
