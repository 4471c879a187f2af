"""Reductions of objects that were recorded in the session's process, for the pickler of a forked child.

`early_reductions` records them just before the fork. The dict is empty at all other times.
"""

from typing import Any, Final

# The object, which keeps its id from being reused, and its reduction; by the object's id.
Reductions = dict[int, tuple[Any, tuple[Any, ...]]]
recorded_reductions: Final[Reductions] = {}


def replay(reduction: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a recorded reduction in the form that pickle expects, with new iterators over its items."""
    items = (None if each is None else iter(each) for each in reduction[3:5])
    return (*reduction[:3], *items, *reduction[5:])
