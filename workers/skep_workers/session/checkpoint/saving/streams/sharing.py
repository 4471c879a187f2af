"""Which pickled variables share something: the same object is in two of them, and that matters.

It matters if the object can change, or if code may compare it by identity. The objects of every stream except the
largest are listed and then looked up in the largest: listing that one would take longer than pickling it did.
"""

import enum
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import TYPE_PARAMETERS, is_among
from skep_workers.session.checkpoint.saving.pickling.memo import Memo

_NEVER_SHARED: Final = frozenset(
    {str, bytes, int, float, complex, bool, type(None), range, FunctionType, BuiltinFunctionType, CodeType}
    | {MethodType, tuple, frozenset, slice, *TYPE_PARAMETERS}
)
_ALWAYS_SHARED: Final = frozenset({dict, list, set, bytearray})
# Their instances can't change, but are in the memo since pickle makes them by a call.
_MODULES_OF_VALUES: Final = frozenset(
    {"datetime", "decimal", "fractions", "pathlib", "re", "uuid", "zoneinfo", "numpy.dtypes", "ipaddress"}
)
# Likewise, in modules that also have classes whose instances can change.
_KINDS_OF_VALUES: Final = frozenset({"torch.dtype", "torch.device", "torch.layout", "torch.memory_format"})


class Met:
    """The objects in one stream, as far as it matters whether another stream has them, too."""

    def __init__(
        self,
        memo: Memo,
        size: int,
        tops: AbstractSet[int],
        constants: set[int],
        own: dict[int, Any],
        referenced: set[int],
    ) -> None:
        """Hold the memo of a pickler that has dumped the stream.

        size: how much was pickled, in bytes.
        tops: ids of values that matter though they can't change, unless they are `constants` of code.
        own: objects that matter and may be missing in the memo, by id.
        referenced: ids of objects that modules own, of which the stream has only a reference.
        """
        self.size: Final = size
        self._memo: Memo | None = memo
        self._whole: Final = memo
        self._tops = tops
        self.constants: Final = constants
        self._own = own
        self._referenced = referenced
        self._objects: dict[int, Any] = {}

    def objects(self) -> dict[int, Any]:
        """Return the objects by their ids. Slow: for the largest stream use `among`."""
        if self._memo is not None:
            met = self._memo.objects()
            kinds = {id(kind): kind for kind in map(type, met.values())}  # a metaclass may hash by code of its own
            shared = {number for number, kind in kinds.items() if can_be_shared(kind)}
            tops = self._tops - self.constants
            self._objects = {
                number: found for number, found in met.items() if id(type(found)) in shared or number in tops
            }
            self._objects |= self._own
            for number in self._referenced:
                self._objects.pop(number, None)
            self._memo = None
        return self._objects

    def everything(self) -> dict[int, Any]:
        """Return all objects in the stream by their ids. Slow."""
        return self._whole.objects()

    def among(self, numbers: Iterable[int]) -> set[int]:
        """Return those of these ids whose objects are in the stream.

        The ids must be of objects that can be shared, or of tops.
        """
        if self._memo is None:
            return {number for number in numbers if number in self._objects}
        wanted = set(numbers) - self._referenced
        return set(self._memo.among(wanted - self.constants)) | (wanted & self._own.keys())


def can_be_shared(kind: type) -> bool:
    """Return whether it matters if two variables have the same instance: it can change, and isn't named by a key."""
    if is_among(kind, _ALWAYS_SHARED):
        return True
    if is_among(kind, _NEVER_SHARED) or issubclass(kind, type | enum.Enum | ModuleType):
        return False
    return kind.__module__ not in _MODULES_OF_VALUES and f"{kind.__module__}.{kind.__name__}" not in _KINDS_OF_VALUES


def is_known_by_identity(value: object) -> bool:
    """Return whether code may compare a value that can't change with another one by identity."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) > _INTERNED_LENGTH  # type: ignore[arg-type]
    if kind is tuple or kind is frozenset:
        return bool(value)
    return not is_among(kind, _BARE) and not issubclass(kind, type | ModuleType)


_INTERNED_LENGTH: Final = 4096  # shorter strings are used everywhere as names, and would join all variables
_BARE: Final = _NEVER_SHARED - {tuple, frozenset, slice, range}


def met_in(mets: Iterable[Met], numbers: AbstractSet[int]) -> set[int]:
    """Return those of these ids whose objects are in any of the streams."""
    by_size = sorted(mets, key=lambda met: met.size)
    if not by_size or not numbers:
        return set()
    *others, largest = by_size
    return largest.among(numbers).union(*(met.objects().keys() & numbers for met in others))


def connected(mets: Sequence[Met], pairs: Iterable[tuple[int, int]] = ()) -> list[list[int]]:
    """Return the indexes of the streams in groups: those that have an object in common, and those in `pairs`."""
    leader = list(range(len(mets)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    owner: dict[int, int] = {}
    by_size = sorted(range(len(mets)), key=lambda index: mets[index].size)
    for index in by_size:
        is_largest = index == by_size[-1]
        shared = mets[index].among(owner) if is_largest else owner.keys() & mets[index].objects().keys()
        for other in {owner[number] for number in shared}:
            leader[find(index)] = find(other)
        if not is_largest:
            owner.update(dict.fromkeys(mets[index].objects(), index))
    for one, other in pairs:
        leader[find(one)] = find(other)
    parts: dict[int, list[int]] = {}
    for index in range(len(mets)):
        parts.setdefault(find(index), []).append(index)
    return list(parts.values())
