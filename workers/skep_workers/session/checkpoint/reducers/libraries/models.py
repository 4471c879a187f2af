"""Parametrised models of pydantic, as bytes and back: `Page[int]` is made by that expression.

pydantic caches the class that an expression has made. A class that was made in another way would differ from the next
`Page[int]`. The expression needs a complete `Page`: where that is uncertain, the class is saved by value.
"""

import operator
import sys
from collections.abc import Callable
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced


class Filled:
    """Ends the state of a class: when this is pickled, all of the class is."""

    def __init__(self, note: Callable[[], Any]) -> None:
        self.note = note


def reduce_filled(value: Filled) -> Reduced:
    """Note that the class is complete; a restore has no use for it."""
    value.note()
    return type(None), ()


def is_model(kind: type) -> bool:
    """Return whether a class is a model of pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(type(kind), type(getattr(pydantic, "BaseModel", int)))


def reduce_parametrised(kind: Any, is_complete: Callable[[Any], bool]) -> Reduced | None:
    """Return the expression that makes the class, None if there is none, or if a part of it is incomplete."""
    made_of = vars(kind).get("__pydantic_generic_metadata__") or {}
    origin, arguments = made_of.get("origin"), made_of.get("args")
    if origin is None or not arguments or not all(map(is_complete, (origin, *arguments))):
        return None
    expression = arguments if len(arguments) > 1 else arguments[0]
    return (operator.getitem, (origin, expression)) if origin[expression] is kind else None
