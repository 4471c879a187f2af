"""Built-in functions and types whose names cells have bound to other objects; checkpoints refer to `find_replaced`.

`real = print; builtins.print = loud`: pickle looks `real` up by its name and finds `loud`.
"""

import builtins
from typing import Any, Final

_FIRST: Final = dict(vars(builtins))


def is_replaced(value: Any, name: str) -> bool:
    """Return whether a value is the original under this name in `builtins`, and has been replaced there."""
    return _FIRST.get(name) is value and vars(builtins).get(name) is not value


def reduce_builtin_function(function: Any) -> Any:
    """Reduce a built-in function that was replaced; pickle saves any other."""
    name = function.__name__
    return (find_replaced, (name,)) if is_replaced(function, name) else NotImplemented


def find_replaced(name: str) -> Any:
    """Return the original under this name in `builtins`."""
    return _FIRST[name]
