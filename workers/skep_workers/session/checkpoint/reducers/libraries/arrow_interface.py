"""The structures of the Arrow C data interface, and the tuples that our streams contain instead of them.

See https://arrow.apache.org/docs/format/CDataInterface.html and the page on its PyCapsule interface.
"""

import ctypes
from typing import Any, Final

STREAM: Final = b"arrow_array_stream"  # names of capsules
SCHEMA: Final = b"arrow_schema"
ARRAY: Final = b"arrow_array"

# Plain tuples, since checkpoints contain them.
# A column's type, by the fields of ArrowSchema: format, name, metadata, flags, children, dictionary.
Schema = tuple[bytes, bytes, bytes, int, tuple[Any, ...], Any]
# A column's values, by the fields of ArrowArray: length, null_count, offset, buffers, children, dictionary.
# A buffer is bytes, a PickleBuffer or None.
Array = tuple[int, int, int, list[Any], list[Any], Any]


class Unsupported(Exception):
    """A layout that is not supported here."""


class CSchema(ctypes.Structure):
    """A type."""


class CArray(ctypes.Structure):
    """Values."""


class CStream(ctypes.Structure):
    """A source of a type and of arrays of it."""


ReleaseSchema: Final = ctypes.CFUNCTYPE(None, ctypes.POINTER(CSchema))
ReleaseArray: Final = ctypes.CFUNCTYPE(None, ctypes.POINTER(CArray))
ReleaseStream: Final = ctypes.CFUNCTYPE(None, ctypes.POINTER(CStream))
CSchema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(CSchema))),
    ("dictionary", ctypes.POINTER(CSchema)),
    ("release", ReleaseSchema),
    ("private_data", ctypes.c_void_p),
]
CArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(CArray))),
    ("dictionary", ctypes.POINTER(CArray)),
    ("release", ReleaseArray),
    ("private_data", ctypes.c_void_p),
]
CStream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CSchema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CArray))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(CStream))),
    ("release", ReleaseStream),
    ("private_data", ctypes.c_void_p),
]
