"""Finds all objects of a class among those that the garbage collector knows.

`gc.get_objects()` returns a reference to every object, also to a tuple that another thread is making at that time:
`tuple(generator)` then fails in that thread with "SystemError: bad argument to internal function". So all references
are taken and dropped within one call of C code, during which no other thread runs. No garbage is collected either: that
may run code.

Things that don't work:
- A comprehension over `gc.get_objects()`: threads change between its steps.
- `itertools.tee` for the two passes: its buffers are among the objects, so they refer to each other and live on.
- `isinstance` as a filter: it asks objects for `__class__`, which may be code of the user's.
"""

from collections import deque
from itertools import chain, compress, starmap
from operator import call
from typing import Any, TypeVar

from skep_shared.originals import gc

_Kind = TypeVar("_Kind")


def instances_of(kind: type[_Kind]) -> list[_Kind]:
    """Return all tracked objects of this class and its subclasses. Runs no code of their classes and metaclasses."""
    classes: list[type] = [kind]
    for each in classes:  # grows
        classes += type.__subclasses__(each)
    is_wanted = frozenset(map(id, classes)).__contains__
    everything: list[list[Any]] = []
    found: list[_Kind] = []
    kinds = map(id, map(type, chain.from_iterable(everything)))
    objects = chain(chain.from_iterable(everything), (None,))  # one more, so that `kinds` comes to its end as well
    is_collecting = gc.isenabled()
    steps: tuple[tuple[Any, ...], ...] = (
        (gc.disable,),
        (everything.extend, starmap(gc.get_objects, ((),))),
        (found.extend, compress(objects, map(is_wanted, kinds))),
        (everything.clear,),
    )
    try:
        deque(starmap(call, steps), maxlen=0)
    finally:
        if is_collecting:
            gc.enable()
    return found
