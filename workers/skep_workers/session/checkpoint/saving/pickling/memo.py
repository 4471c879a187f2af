"""The objects that a pickler has pickled, by identity, without a copy of its memo.

`Pickler.memo.copy()` makes a dict, a tuple and two numbers for every object, which takes longer than pickling them did.
So a few objects are looked up among millions in the pickler's own hash table. No interface promises the layout of that
table in memory. It has been the same from Python 3.2 to 3.14, and every process checks it once on a pickler whose memo
it knows, before it relies on it. Where that check fails, the copy is used.
"""

import ctypes
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pickle import Pickler
from typing import Any, Final

_WORD: Final = ctypes.sizeof(ctypes.c_size_t)
_NO_MEMO: Final = 0
_SMALL_BYTES: Final = 2048  # up to this size of a stream, copying its memo is faster than finding its table


class Memo:
    """The memo of a pickler that has dumped; keeps the pickler alive, and with it all the objects."""

    def __init__(self, pickler: Pickler) -> None:
        self._pickler = pickler
        self._copy: dict[int, Any] | None = None

    def objects(self) -> dict[int, Any]:
        """Return all objects by their ids. Slow."""
        if self._copy is None:
            copied: dict[int, tuple[int, Any]] = self._pickler.memo.copy()
            self._copy = {number: found for number, (_, found) in copied.items()}
        return self._copy

    def among(self, numbers: Iterable[int]) -> list[int]:
        """Return those ids whose objects are in the memo."""
        if self._copy is not None or not _READS_TABLES:
            known = self.objects()
            return [number for number in numbers if number in known]
        _, size, table = _table(self._pickler)
        return _found(numbers, size - 1, table)

    def objects_of(self, numbers: Mapping[int, Any], size: int) -> list[Any]:
        """Return the objects in the memo that have one of these ids. size: how much was pickled, in bytes."""
        if self._copy is None and _READS_TABLES and size > _SMALL_BYTES:
            used, size, table = _table(self._pickler)
            if used < len(numbers):
                found = [number for number in table[::2].tolist() if number in numbers]
            else:
                found = _found(numbers, size - 1, table)
            return [_living(number) for number in found]
        known = self.objects()
        if len(known) < len(numbers):
            return [value for number, value in known.items() if number in numbers]
        return [known[number] for number in numbers if number in known]


def _living(number: int) -> Any:
    """Return the object of this id: the pickler's table keeps it alive."""
    return ctypes.cast(number, ctypes.py_object).value


def _table(pickler: Pickler) -> tuple[int, int, memoryview]:
    """Return a memo's number of objects, its number of slots, and the slots: an id (0: free) and an index for each.

    CPython, Modules/_pickle.c: PicklerObject begins with a pointer to its PyMemoTable, which is mask, used, allocated
    and a pointer to its entries.
    """
    memo = ctypes.c_size_t.from_address(id(pickler) + object.__basicsize__).value
    mask, used, size, entries = (ctypes.c_size_t * 4).from_address(memo)
    if mask + 1 != size or used >= size:
        raise SystemError("a pickler's memo isn't what it was")
    places = (ctypes.c_size_t * (2 * size)).from_address(entries)
    return used, size, memoryview(places).cast("B").cast("Q")


def _found(numbers: Iterable[int], mask: int, table: memoryview) -> list[int]:
    """Look ids up as _PyMemoTable_Lookup does."""
    found = []
    for number in numbers:
        perturb = place = number >> 3
        place &= mask
        while (there := table[2 * place]) != _NO_MEMO:
            if there == number:
                found.append(number)
                break
            place = (place * 5 + perturb + 1) & mask
            perturb >>= 5
    return found


def _can_read_tables() -> bool:
    """Check on a pickler whose memo is known that every object is found, and no other."""
    if sys.implementation.name != "cpython" or _WORD != 8 or not hasattr(Pickler(BytesIO()), "memo"):
        return False
    value = [[str(number), [number]] for number in range(100)]
    pickler = Pickler(BytesIO(), protocol=5)
    pickler.dump(value)
    known = pickler.memo.copy()
    strangers = [[number] for number in range(100)]
    try:
        used, size, table = _table(pickler)
        return (
            used == len(known)
            and sorted(known) == sorted(number for number in table[::2] if number)
            and _found(known, size - 1, table) == list(known)
            and not _found(map(id, strangers), size - 1, table)
            and all(_living(number) is found for number, (_, found) in known.items())
        )
    except (SystemError, ValueError):
        return False


_READS_TABLES: Final = _can_read_tables()
