"""Built-in functions and types whose names cells have given to something else; checkpoints name the function here.

`real = print; builtins.print = loud`: pickle looks for `real` by its name and finds `loud`.
"""

import builtins
from typing import Any, Final

_FIRST: Final = dict(vars(builtins))


def is_replaced(value: Any, name: str) -> bool:
    """Return whether it is what the built-in module had under this name and hasn't any more."""
    return _FIRST.get(name) is value and vars(builtins).get(name) is not value


def reduce_builtin_function(function: Any) -> Any:
    """Save a built-in function that was replaced; any other is left to pickle."""
    name = function.__name__
    return (find_replaced, (name,)) if is_replaced(function, name) else NotImplemented


def find_replaced(name: str) -> Any:
    """Return what the built-in module had under this name when the process was started."""
    return _FIRST[name]
