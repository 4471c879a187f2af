"""Functions of cells, and the variables they close over, as bytes and back.

Each is made empty first and filled afterwards, so that its attributes may refer to it. Checkpoints refer to the
functions here that make them.
"""

import builtins
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, registry

_SLOTS: Final = (
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__defaults__",
    "__kwdefaults__",
    "__annotations__",
)


def reduce_function(function: FunctionType, spaces: dict[int, ModuleType]) -> Reduced:
    """Reduce a function by value, with its own globals. spaces: id of a module's dict -> the module."""
    slots = {name: getattr(function, name) for name in _SLOTS}
    type_parameters = getattr(function, "__type_params__", ())  # of `def f[T]`, from Python 3.12 on
    if type_parameters:
        slots["__type_params__"] = type_parameters
    code, closure = function.__code__, function.__closure__
    state = (dict(function.__dict__), slots)
    if function.__globals__ is registry.names:
        return make_function, (code, closure), state, None, None, set_function_state
    module = spaces.get(id(function.__globals__))
    space = function.__globals__ if module is None else module
    return make_function_of, (space, code, closure), state, None, None, set_function_state


def make_function(code: CodeType, closure: tuple[Any, ...] | None) -> FunctionType:
    """Make a function of the session's namespace; its attributes are set as its state."""
    return FunctionType(code, registry.names, None, None, closure)


def make_function_of(
    space: ModuleType | dict[str, Any], code: CodeType, closure: tuple[Any, ...] | None
) -> FunctionType:
    """Make a function of a module, or of a namespace of its own."""
    return FunctionType(code, space if isinstance(space, dict) else vars(space), None, None, closure)


def set_function_state(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set a function's attributes, after everything they refer to has been made."""
    attributes, slots = state
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)
    space = function.__globals__
    known = space.get("__builtins__")
    if space is not registry.names and isinstance(known, dict) and len(known) > 1:
        space["__builtins__"] = vars(builtins)  # as exec() sets it; a module was restored as itself


def reduce_cell(cell: CellType) -> Reduced:
    """Reduce a variable of a closure; its value may refer to the functions that share it."""
    try:
        return CellType, (), (cell.cell_contents,), None, None, set_cell
    except ValueError:
        return CellType, ()


def set_cell(cell: CellType, state: tuple[Any]) -> None:
    """Set the value of a closure's variable."""
    [cell.cell_contents] = state
