"""Importing columns into a library through the Arrow C data interface: restored memory is passed on, not copied.

The library releases a column by calling a function of ours, from any thread.
"""

import ctypes
import itertools
from collections.abc import Iterator
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.libraries.arrow_interface import (
    ARRAY,
    SCHEMA,
    Array,
    CArray,
    CSchema,
    ReleaseArray,
    ReleaseSchema,
    Schema,
)

# Function objects of our own: the attributes of `ctypes.pythonapi` are shared with user code.
_new_capsule = ctypes.pythonapi["PyCapsule_New"]
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_held: Final[dict[int, Any]] = {}  # objects that the structures refer to, until the library releases them
_keys: Final = itertools.count(1)
_nothing: Final = (ctypes.c_char * 64)()  # the memory of empty buffers


def _release(pointer: Any) -> None:
    """Release a schema or an array as the interface defines it: with its children, unless they were moved."""
    source = pointer.contents
    parts = [source.children[index] for index in range(source.n_children)]
    if source.dictionary:
        parts.append(source.dictionary)
    for part in parts:
        if part.contents.release:
            part.contents.release(part)
    key = source.private_data
    source.release = type(source.release)()
    _held.pop(key, None)


_release_schema: Final = ReleaseSchema(_release)
_release_array: Final = ReleaseArray(_release)
for _callback in (_release_schema, _release_array):
    # A library may release memory at the very end of the process, when this module is gone.
    ctypes.pythonapi["Py_IncRef"](ctypes.py_object(_callback))


class Column:
    """One chunk of a column, for a library that accepts an object with `__arrow_c_array__`."""

    def __init__(self, schema: Schema, array: Array) -> None:
        self._schema = _new_schema(schema)
        self._array = _new_array(array)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """Return the capsules of the interface; the library that opens them becomes the owner of the memory."""
        return (
            _new_capsule(ctypes.addressof(self._schema), SCHEMA, None),
            _new_capsule(ctypes.addressof(self._array), ARRAY, None),
        )

    def close(self) -> None:
        """Release the structures that no library has taken over."""
        for part in (self._schema, self._array):
            if part.release:
                part.release(ctypes.byref(part))


def _new_schema(schema: Schema) -> Any:
    kind, name, metadata, flags, parts, words = schema
    made = CSchema(kind, name, None, flags)
    encoded = ctypes.create_string_buffer(metadata) if metadata else None
    if encoded is not None:
        made.metadata = ctypes.addressof(encoded)
    held = _add_parts(made, CSchema, map(_new_schema, parts), words, _new_schema)
    return _hold(made, _release_schema, (schema, encoded, held))


def _new_array(array: Array) -> Any:
    length, null_count, offset, buffers, parts, words = array
    made = CArray(length, null_count, offset, len(buffers))
    memory = [None if each is None else _memory(each) for each in buffers]
    addresses = (ctypes.c_void_p * max(1, len(memory)))(
        *(None if each is None else ctypes.addressof(each) for each in memory)
    )
    made.buffers = addresses
    held = _add_parts(made, CArray, map(_new_array, parts), words, _new_array)
    return _hold(made, _release_array, (memory, addresses, held))


def _add_parts(made: Any, kind: Any, children: Iterator[Any], dictionary: Any, new: Any) -> Any:
    parts = list(children)
    pointers = (ctypes.POINTER(kind) * max(1, len(parts)))(*map(ctypes.pointer, parts))
    made.n_children, made.children = len(parts), pointers
    if dictionary is not None:
        parts.append(new(dictionary))
        made.dictionary = ctypes.pointer(parts[-1])
    return parts, pointers


def _memory(buffer: Any) -> Any:
    view = memoryview(buffer)
    if not view.nbytes:
        return _nothing
    if view.readonly:
        # ctypes can't provide the address of read-only memory, so it is copied.
        return (ctypes.c_char * view.nbytes).from_buffer_copy(view)
    return (ctypes.c_char * view.nbytes).from_buffer(view)


def _hold(made: Any, release: Any, parts: Any) -> Any:
    key = next(_keys)
    _held[key] = (made, parts)
    made.private_data, made.release = key, release
    return made
