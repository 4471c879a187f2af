"""References in a stream to objects that modules of the environment own, in place of the objects themselves.

Pickle saves a dict, a list or a set without calling `reducer_override`. So a stream that turned out to reach such a
container of a module is pickled a second time, with a prefix of references. After the prefix the pickler's memo is
changed: each container gets the memo entry of its reference. The unpickler needs no change for that.

Things that don't work: a `persistent_id` would do the same, but it is called for every object, which makes large
streams several times slower.
"""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from skep_workers.session.checkpoint.reducers.definitions import Reduced
from skep_workers.session.checkpoint.reducers.language.prefixes import take_last
from skep_workers.session.checkpoint.reducers.owned_objects import OwnedPlace, owned, reduce_owned
from skep_workers.session.checkpoint.saving.pickling.memo import Memo


class Reference:
    """Stands for an object that a module owns."""

    __slots__ = ("place", "target")

    def __init__(self, target: Any, place: OwnedPlace) -> None:
        self.target = target
        self.place = place


class Swap:
    """Follows the references in a stream; pickling it changes the memo."""

    __slots__ = ("references",)

    def __init__(self, references: Sequence[Reference]) -> None:
        self.references = references


class Prefixed(NamedTuple):
    """Is pickled in place of a value that reaches owned objects."""

    references: Sequence[Reference]
    value: Any


def owned_in(memo: Memo, size: int) -> list[Reference]:
    """Return references to all objects in a memo that modules own. size: of the stream, in bytes."""
    found = memo.objects_of(owned.numbers, size)
    places = [(value, owned.place(value)) for value in found]
    return [Reference(value, place) for value, place in places if place is not None]


def reduce_reference(reference: Reference) -> Reduced:
    """Reduce a reference."""
    return reduce_owned(reference.place)


def reduce_prefixed(prefixed: Prefixed) -> Reduced:
    """Reduce a value, to be pickled after its references."""
    return take_last, (*prefixed.references, Swap(prefixed.references), prefixed.value)


def reduce_swap(swap: Swap, pickler: pickle.Pickler) -> Reduced:
    """Change the memo, so that the targets of references are pickled as what the references have become.

    Each target's entry replaces that of its reference: the memo's size, from which new indexes are counted, remains the
    same.
    """
    memo: dict[int, tuple[int, Any]] = pickler.memo.copy()
    for reference in swap.references:
        index, _ = memo.pop(id(reference))
        memo[id(reference.target)] = index, reference.target
    pickler.memo = memo
    return take_last, (None,)
