"""Which memory the objects of one stream see, and which of it more than one of them sees.

Arrays name what owns their memory. What other libraries made of the same memory (a tensor, an object of ctypes)
doesn't: it is found by its address. Such memory is saved once, with the object that has all of it, its host; the others
are saved as parts of that.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from skep_workers.session.checkpoint.reducers.arrays import is_array
from skep_workers.session.checkpoint.saving.memo import Memo

Region = tuple[int, int]  # addresses: first, and after the last


class Shared(NamedTuple):
    """What is shared in a stream: ids of owners, and for others by id their host and where in it they begin."""

    owners: frozenset[int]
    hosts: dict[int, tuple[Any, int]]


NOTHING: Final = Shared(frozenset(), {})


class SeenMemory:
    """Notes what a pickler meets; `shared` is what it was told before."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.owners: dict[int, Any] = {}
        self._twice: set[int] = set()
        self._regions: dict[int, tuple[int, int, Any]] = {}
        self._has_foreign = False

    def is_shared(self, owner: Any) -> bool:
        """Note that something sees the memory of `owner`; returns whether others in this stream do, too."""
        number = id(owner)
        if number in self.owners:
            self._twice.add(number)
        self.owners[number] = owner
        return number in self._shared.owners

    def note(self, value: Any, address: int, size: int, *, is_foreign: bool = True) -> None:
        """Note where the memory of a value is. is_foreign: nothing but its address may tell whose it is."""
        if size:
            self._has_foreign = self._has_foreign or is_foreign
            self._regions[id(value)] = (address, address + size, value)

    def host(self, value: Any) -> tuple[Any, int] | None:
        """Return what has the memory of a value, and where in it the value begins; None if the value itself has it."""
        return self._shared.hosts.get(id(value))

    @property
    def regions(self) -> list[Region]:
        """The memory that other streams may see; none if no library but NumPy took part in this one."""
        return [(start, end) for start, end, _ in self._regions.values()]

    def to_share(self, memo: Memo) -> Shared:
        """Return what more than one of the objects met sees."""
        if not self.owners and not self._has_foreign:
            return NOTHING
        owners = self._twice | set(memo.among(self.owners))
        hosts: dict[int, tuple[Any, int]] = {}
        if self._has_foreign:
            for group in _overlapping(list(self._regions.values())):
                host = _host(group)
                if host is not None:
                    start, _, value = host
                    owners.add(id(value))
                    hosts |= {id(other): (value, first - start) for first, _, other in group if other is not value}
        return Shared(frozenset(owners), hosts) if owners or hosts else NOTHING


def _overlapping(regions: list[tuple[int, int, Any]]) -> list[list[tuple[int, int, Any]]]:
    """Put those that overlap together; returns the groups of more than one."""
    groups: list[list[tuple[int, int, Any]]] = []
    until = -1
    for region in sorted(regions, key=lambda each: each[:2]):
        if region[0] < until:
            groups[-1].append(region)
        else:
            groups.append([region])
        until = max(until, region[1])
    return [group for group in groups if len(group) > 1]


def _host(group: list[tuple[int, int, Any]]) -> tuple[int, int, Any] | None:
    """Return the one that has all of the memory, an array if there is one; None if none has."""
    start, end = group[0][0], max(last for _, last, _ in group)
    whole = [region for region in group if region[:2] == (start, end)]
    arrays = [region for region in whole if is_array(type(region[2]))]
    return next(iter(arrays or whole), None)


def connections(regions: Sequence[list[Region]]) -> list[tuple[int, int]]:
    """Return the pairs of streams, by index, that see the same memory."""
    marked = sorted((start, end, index) for index, each in enumerate(regions) for start, end in each)
    pairs, until, latest = [], -1, -1
    for start, end, index in marked:
        if start < until and index != latest:
            pairs.append((latest, index))
        if end > until:
            until, latest = end, index
    return pairs
