"""References in a stream to what modules of the environment own, in the place of the objects themselves.

Pickle saves a dict, a list or a set without asking anybody. So a stream that turned out to reach such a container of a
module is pickled a second time: behind a prefix of references, after which the pickler's memo is told that each
container is what its reference has become. The unpickler needs to know nothing of that.

A `persistent_id` would do the same; but it is called for every object, which makes large streams several times slower.
"""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from skep_workers.session.checkpoint.reducers.definitions import Reduced
from skep_workers.session.checkpoint.reducers.owned import Place, owned, reduce_owned
from skep_workers.session.checkpoint.reducers.prefixes import take_last
from skep_workers.session.checkpoint.saving.memo import Memo


class Reference:
    """Stands for an object that a module owns."""

    __slots__ = ("place", "target")

    def __init__(self, target: Any, place: Place) -> None:
        self.target = target
        self.place = place


class Swap:
    """Comes behind the references; when it is pickled, the memo is changed."""

    __slots__ = ("references",)

    def __init__(self, references: Sequence[Reference]) -> None:
        self.references = references


class Prefixed(NamedTuple):
    """What is pickled in the place of a value that reaches owned objects."""

    references: Sequence[Reference]
    value: Any


def owned_in(memo: Memo, size: int) -> list[Reference]:
    """Return references to all objects in a memo that modules own. size: of the stream, in bytes."""
    found = memo.objects_of(owned.numbers, size)
    places = [(value, owned.place(value)) for value in found]
    return [Reference(value, place) for value, place in places if place is not None]


def reduce_reference(reference: Reference) -> Reduced:
    """Save a reference."""
    return reduce_owned(reference.place)


def reduce_prefixed(prefixed: Prefixed) -> Reduced:
    """Save a value behind its references."""
    return take_last, (*prefixed.references, Swap(prefixed.references), prefixed.value)


def reduce_swap(swap: Swap, pickler: pickle.Pickler) -> Reduced:
    """Let the memo name what the references have become, wherever their targets are reached from here on.

    The entries take each other's place: the memo's size, from which new indexes are counted, stays what it was.
    """
    memo: dict[int, tuple[int, Any]] = pickler.memo.copy()
    for reference in swap.references:
        index, _ = memo.pop(id(reference))
        memo[id(reference.target)] = index, reference.target
    pickler.memo = memo
    return take_last, (None,)
