"""Memory that several objects of one stream see.

Arrays name the owner of their memory. Objects that other libraries made of the same memory (a tensor, an object of
ctypes) don't; they are found by their addresses. Such memory is saved once, with the object that has all of it, its
host. The others are saved as parts of the host.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from skep_workers.session.checkpoint.reducers.libraries.arrays import is_array
from skep_workers.session.checkpoint.saving.pickling.memo import Memo

Region = tuple[int, int]  # addresses: first, and after the last


class Shared(NamedTuple):
    """Memory shared in a stream: ids of its owners; and for other objects, by id, their host and their offset in it."""

    owners: frozenset[int]
    hosts: dict[int, tuple[Any, int]]


NOTHING: Final = Shared(frozenset(), {})


class SeenMemory:
    """The memory that the objects of a stream see, as its pickler reports it."""

    def __init__(self, shared: Shared) -> None:
        """shared: the memory that is known to be shared, from pickling the same objects before."""
        self._shared = shared
        self.owners: dict[int, Any] = {}
        self._twice: set[int] = set()
        self._regions: dict[int, tuple[int, int, Any]] = {}
        self._has_foreign = False

    def is_shared(self, owner: Any) -> bool:
        """Note an object that sees the memory of `owner`; return whether other objects of the stream see it, too."""
        number = id(owner)
        if number in self.owners:
            self._twice.add(number)
        self.owners[number] = owner
        return number in self._shared.owners

    def note(self, value: Any, address: int, size: int, *, is_foreign: bool = True) -> None:
        """Note where the memory of a value is. is_foreign: its owner may be known by the address only."""
        if size:
            self._has_foreign = self._has_foreign or is_foreign
            self._regions[id(value)] = (address, address + size, value)

    def host(self, value: Any) -> tuple[Any, int] | None:
        """Return the host of a value's memory, and the value's offset in it; None if the value has its own memory."""
        return self._shared.hosts.get(id(value))

    @property
    def regions(self) -> list[Region]:
        """The memory that objects of other streams may see."""
        return [(start, end) for start, end, _ in self._regions.values()]

    def to_share(self, memo: Memo) -> Shared:
        """Return the memory that more than one object of the stream sees."""
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
    """Return the groups of regions that overlap."""
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
    """Return the region that covers the whole group, preferably an array's; None if no region does."""
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
