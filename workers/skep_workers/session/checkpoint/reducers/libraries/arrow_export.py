"""Exporting columns from a library through the Arrow C data interface.

Only small buffers are copied. The others are used in place, and the library keeps them until the last of them is
released. This uses no threads, so it works in a forked child, where a library's thread pool doesn't exist.
"""

import ctypes
from collections.abc import Iterator
from pickle import PickleBuffer
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.libraries.arrow_interface import (
    STREAM,
    Array,
    CArray,
    CSchema,
    CStream,
    Schema,
    Unsupported,
)
from skep_workers.session.checkpoint.reducers.libraries.buffers import buffer_at

# Function objects of our own: the attributes of `ctypes.pythonapi` are shared with user code.
_capsule_pointer = ctypes.pythonapi["PyCapsule_GetPointer"]
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class _Export:
    """An array that a library has exported; released together with the last of its buffers."""

    def __init__(self, array: CArray) -> None:
        self._array = array

    def __del__(self) -> None:
        if self._array.release:
            self._array.release(ctypes.byref(self._array))


def export(column: Any) -> tuple[Schema, list[Array]]:
    """Return the type and the chunks of an object with `__arrow_c_stream__`. Raises Unsupported."""
    capsule = column.__arrow_c_stream__()
    stream = ctypes.cast(_capsule_pointer(capsule, STREAM), ctypes.POINTER(CStream))
    source = stream.contents
    c_schema = CSchema()
    _check(source.get_schema(stream, ctypes.byref(c_schema)))
    try:
        schema = _schema(c_schema)
        arrays: list[Array] = []
        while True:
            c_array = CArray()
            _check(source.get_next(stream, ctypes.byref(c_array)))
            if not c_array.release:
                return schema, arrays
            arrays.append(_array(schema, c_array, _Export(c_array)))
    finally:
        c_schema.release(ctypes.byref(c_schema))


def size_bytes(schema: Schema, array: Array) -> int:
    """Return the size of an array's buffers, except the views of texts, whose number is that of the values."""
    kind, _, _, _, parts, words = schema
    _, _, _, buffers, children, dictionary = array
    own = sum(map(_size, buffers)) - (_size(buffers[1]) if kind in VIEWS else 0)
    own += sum(size_bytes(part, child) for part, child in zip(parts, children, strict=True))
    return own if words is None else own + size_bytes(words, dictionary)


def _size(buffer: Any) -> int:
    return buffer.raw().nbytes if isinstance(buffer, PickleBuffer) else len(buffer or b"")


def _check(code: int) -> None:
    if code:
        raise Unsupported(f"the library's Arrow stream failed with error {code}")


def _schema(source: CSchema) -> Schema:
    children = tuple(_schema(source.children[index].contents) for index in range(source.n_children))
    dictionary = _schema(source.dictionary.contents) if source.dictionary else None
    name, metadata = source.name or b"", _metadata(source.metadata)
    return source.format, name, metadata, source.flags, children, dictionary


def _metadata(address: int | None) -> bytes:
    """Return the bytes of encoded keys and values: a count, and each with its length before it, as 32-bit numbers."""
    if not address:
        return b""
    end = address + 4
    for _ in range(2 * _number(address)):
        end += 4 + _number(end)
    return ctypes.string_at(address, end - address)


def _number(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


def _array(schema: Schema, source: CArray, owner: _Export) -> Array:
    kind, _, _, _, parts, words = schema
    addresses = [source.buffers[index] for index in range(source.n_buffers)]
    start = source.offset // 8 * 8 if _can_be_cut(kind) else 0  # whole bytes of bits
    ranges = _ranges(kind, addresses, start, source.offset + source.length)
    children = [_array(part, source.children[index].contents, owner) for index, part in enumerate(parts)]
    dictionary = None if words is None else _array(words, source.dictionary.contents, owner)
    buffers = [
        buffer_at(address + first, end - first, owner) if address else None
        for address, (first, end) in zip(addresses, ranges, strict=True)
    ]
    return source.length, source.null_count, source.offset - start, buffers, children, dictionary


_WIDTHS: Final = {
    **dict.fromkeys((b"c", b"C"), 1),
    **dict.fromkeys((b"s", b"S", b"e"), 2),
    **dict.fromkeys((b"i", b"I", b"f", b"tdD", b"tts", b"ttm", b"tiM"), 4),
    **dict.fromkeys((b"l", b"L", b"g", b"tdm", b"ttu", b"ttn", b"tiD"), 8),
    **dict.fromkeys((b"tin", b"vu", b"vz", b"_pli128", b"_plu128"), 16),
}
_OFFSETS: Final = {b"u": 4, b"z": 4, b"U": 8, b"Z": 8, b"+l": 4, b"+m": 4, b"+L": 8}
_WITH_DATA: Final = (b"u", b"z", b"U", b"Z")
VIEWS: Final = (b"vu", b"vz")
_BITS: Final = b"b"


def _width(kind: bytes) -> int | None:
    """Return the bytes of one value, None where values have no fixed width."""
    if kind[:2] in {b"ts", b"tD"}:
        return 8
    if kind.startswith(b"w:"):
        return int(kind[2:])
    if kind.startswith(b"d:"):
        _, _, *bits = kind[2:].split(b",")
        return int(bits[0]) // 8 if bits else 16
    return _WIDTHS.get(kind)


def _can_be_cut(kind: bytes) -> bool:
    """Return whether values before an array's offset can be left out: no other buffer is indexed by their positions."""
    return kind == _BITS or _width(kind) is not None


def _ranges(kind: bytes, addresses: list[int | None], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield for each buffer the range of bytes with the values from `start` to `end`. Raises Unsupported."""
    if kind == b"n":
        yield from ((0, 0) for _ in addresses)
        return
    yield start // 8, -(-end // 8)  # the validity bitmap
    width = _width(kind)
    if kind == _BITS:
        yield start // 8, -(-end // 8)
    elif width is not None:
        yield start * width, end * width
        if kind in VIEWS:
            *data, sizes = addresses[2:]
            yield from ((0, ctypes.c_int64.from_address((sizes or 0) + 8 * index).value) for index in range(len(data)))
            yield 0, 8 * len(data)
    elif kind in _OFFSETS:
        offset = _OFFSETS[kind]
        yield 0, (end + 1) * offset
        if kind in _WITH_DATA:
            yield 0, _last_offset(addresses[1], end, offset)
    elif kind != b"+s" and not kind.startswith(b"+w:"):
        raise Unsupported(f"Arrow format {kind.decode()}")


def _last_offset(address: int | None, index: int, width: int) -> int:
    if not address:
        return 0
    kind: Any = ctypes.c_int32 if width == 4 else ctypes.c_int64
    return int(kind.from_address(address + index * width).value)
