"""Comparing objects by their memory, without running their code or counting a reference.

Counting a reference writes to the object, and in a forked process the first write to each page copies it. Code that
depends on CPython's layout of objects is tried on an example first. Where that fails, addresses are listed one by one.
"""

import struct
import sys
import sysconfig
from array import array
from ctypes import PYFUNCTYPE, c_ssize_t, c_void_p, py_object, pythonapi, sizeof
from itertools import chain
from typing import Any, Final

from skep_workers.session.runtime.fork_safety import has_threads

# `ctypes.string_at` without a Python frame: (address, number of bytes) -> bytes.
memory_at: Final = PYFUNCTYPE(py_object, c_void_p, c_ssize_t)(("PyBytes_FromStringAndSize", pythonapi))
_POINTER_BYTES: Final = sizeof(c_void_p)
_PAIR_BYTES: Final = 2 * _POINTER_BYTES


def identities(values: tuple[Any, ...]) -> bytes:
    """Return the addresses of these objects as bytes; comparing the objects with `==` could run their code."""
    found: bytes = memory_at(id(values) + _TUPLE_HEADER_BYTES, len(values) * _POINTER_BYTES)
    return found


def table(names: dict[str, Any]) -> bytes:
    """Return the addresses of a dict's keys and values, a pair for each name in order; b"" if they can't be read.

    A removed name may leave a pair of zeros. Not read while there are threads of user code, which could make the dict
    change its table between two steps of this.
    """
    return b"" if not _READS_TABLES or has_threads() else _table(names)


def _table(names: dict[Any, Any]) -> bytes:
    place = int.from_bytes(memory_at(id(names) + _TABLE_OFFSET, _POINTER_BYTES), sys.byteorder)
    index_bytes_log2, kind, pairs = _TABLE_HEADER.unpack(memory_at(place, _TABLE_HEADER.size))
    if kind != _HAS_TEXTS_ONLY:
        return b""
    found: bytes = memory_at(place + _TABLE_HEADER.size + (1 << index_bytes_log2), pairs * _PAIR_BYTES)
    return found


def _listed_identities(values: tuple[Any, ...]) -> bytes:
    return array("Q", map(id, values)).tobytes()


def _reads_tables() -> bool:
    """Return whether dicts have the layout that `table` reads: known for some versions, and tried on examples."""
    if not _IS_CPYTHON or sys.version_info >= _UNKNOWN_VERSION or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    for count in _TRIED:
        names = {f"key {number}": object() for number in range(count)}
        if _table(names) != _listed_identities(tuple(chain.from_iterable(names.items()))):
            return False
    return True


_TUPLE_HEADER_BYTES: Final = tuple.__basicsize__
_TABLE_OFFSET: Final = object.__basicsize__ + 2 * _POINTER_BYTES  # after the number of entries and a version
_TABLE_HEADER: Final = struct.Struct("=9xBB13xQ")  # see PyDictKeysObject
_HAS_TEXTS_ONLY: Final = 1
_TRIED: Final = (1, 7, 300)
_IS_CPYTHON: Final = sys.implementation.name == "cpython"
_UNKNOWN_VERSION: Final = (3, 14)
_READS_TABLES: Final = _reads_tables()
_PROBE: Final = (object(), "probe", 10**9)
if not _IS_CPYTHON or identities(_PROBE) != _listed_identities(_PROBE):
    identities = _listed_identities
