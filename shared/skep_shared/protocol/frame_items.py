"""Checks the items of lists and maps in decoded frames: a session process may send anything in them.

The types are exact, so that an event made of them can be read by clients, whose models are strict about them too. What
a map has as values of any type, such as a MIME bundle, may only be nested as deep as readers can follow.

Each cell costs a few such checks, so they take loops over what is mostly one item or none, and no call for that.
"""

from collections.abc import Callable
from typing import Any, Final, get_args, get_type_hints

from skep_shared.errors import MalformedFrame
from skep_shared.json_form import MAX_LEVELS, is_nested_deeper

Check = Callable[[Any], None]  # of a container that is not empty. Raises MalformedFrame.
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})


def item_checks(kind: Any) -> tuple[tuple[int, Check], ...]:
    """Return the places of a frame's fields that are containers, each with the check of its items."""
    checks = []
    hints = get_type_hints(kind)
    for place, name in enumerate(kind._fields):
        container = getattr(hints[name], "__origin__", None)
        if container is not None:
            make = _check_of_map if container is dict else _check_of_list
            checks.append((place, make(f"{kind.__name__}.{name}", *get_args(hints[name]))))
    return tuple(checks)


def _check_of_list(name: str, expected: type) -> Check:
    def check(items: list[Any]) -> None:
        for item in items:
            if type(item) is not expected:
                raise MalformedFrame(f"{name} may have items of type {expected.__name__} only")

    return check


def _check_of_map(name: str, key_type: type, expected: Any) -> Check:
    def check(items: dict[Any, Any]) -> None:
        for key, value in items.items():
            if type(key) is not key_type:
                raise MalformedFrame(f"{name} may have keys of type {key_type.__name__} only")
            if expected is Any:
                if type(value) not in _SCALARS and is_nested_deeper(value, MAX_LEVELS - 1):
                    raise MalformedFrame(f"{name} is nested deeper than {MAX_LEVELS} levels")
            elif type(value) is not expected:
                raise MalformedFrame(f"{name} may have items of type {expected.__name__} only")

    return check
