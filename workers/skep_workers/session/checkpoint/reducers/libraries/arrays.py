"""NumPy arrays that share memory: a view is saved as a part of the array that owns the memory, if others see it too.

NumPy itself is not imported here; a session that has an array has imported it.
"""

import sys
from array import array
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.definitions import Reduced, is_among

_BUFFERS: Final = frozenset({bytes, bytearray, array})


def is_array(kind: type) -> bool:
    """Return whether a class is NumPy's own array type."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is getattr(numpy, "ndarray", None)


def is_any_array(value: Any) -> bool:
    """Return whether a value is an array of NumPy, of any class."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, getattr(numpy, "ndarray", ()))


def is_map(array: Any) -> bool:
    """Return whether an array is a memory map of a file, and not a view of one."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(array, numpy.memmap) and not isinstance(array.base, numpy.ndarray)


def can_be_mapped(array: Any) -> bool:
    """Return whether the file of a memory map still exists and is long enough."""
    if array.filename is None:
        return False
    try:
        return bool(os.stat(array.filename).st_size >= array.offset + array.nbytes)
    except OSError:
        return False


def owner_of(array: Any) -> Any:
    """Return the owner of the memory of a view: an array or a buffer; None if the array owns its memory."""
    owner = array.base
    while owner is not None:
        if type(owner) is memoryview:
            owner = owner.obj
        elif _stands_for_another(owner) and owner.base is not None and not is_map(owner):
            owner = owner.base
        else:
            break
    if owner is None:
        return None
    if is_any_array(owner):
        return owner if owner.flags.c_contiguous or owner.flags.f_contiguous else None
    return owner if is_among(type(owner), _BUFFERS) else None


def _stands_for_another(owner: Any) -> bool:
    """Return whether an owner is an array, or the object that NumPy inserts for views with strides of their own."""
    return is_any_array(owner) or (
        hasattr(type(owner), "__dict__") and {"base", "__array_interface__"} <= _names(owner)
    )


def _names(value: Any) -> set[str]:
    return set(getattr(value, "__dict__", ()))


def is_record(kind: type) -> bool:
    """Return whether a class is a type of elements of structured arrays."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and (kind is getattr(numpy, "void", None) or kind is getattr(numpy, "record", None))


def reduce_record(record: Any, owner: Any) -> Reduced:
    """Reduce an element of a structured array to a part of the array."""
    return make_record, (owner, record.dtype, _address(record) - _address(owner), record.flags.writeable)


def make_record(owner: Any, dtype: Any, offset: int, writeable: bool) -> Any:
    """Make an element of a structured array."""
    return make_view(owner, dtype, (), (), offset, writeable)[()]


def reduce_view(array: Any, owner: Any) -> Reduced:
    """Reduce a view to a part of its owner."""
    offset = _address(array) - _address(owner)
    return make_view, (owner, array.dtype, array.shape, array.strides, offset, array.flags.writeable)


def make_view(
    owner: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, writeable: bool
) -> Any:
    """Return a part of an array."""
    import numpy as np  # noqa: PLC0415 - see above

    owner = np.asarray(owner) if isinstance(owner, np.ndarray) else owner  # some classes have a `ravel` of their own
    if not isinstance(owner, np.ndarray):
        view: Any = np.ndarray(shape, dtype, buffer=owner, offset=offset, strides=strides)
    elif owner.dtype.hasobject:
        flat = owner.ravel(order="K")
        view = np.lib.stride_tricks.as_strided(flat[offset // flat.itemsize :], shape, strides)
    else:
        # As bytes: arrays of some dtypes don't support the buffer protocol.
        flat = owner.ravel(order="K").view(np.uint8)
        view = np.ndarray(shape, dtype, buffer=flat, offset=offset, strides=strides)
    if not writeable:
        view.flags.writeable = False
    return view


def place_of(array: Any) -> tuple[int, int]:
    """Return the address and the size of an array's memory; the size is 0 if it isn't contiguous."""
    is_whole = array.flags.c_contiguous or array.flags.f_contiguous
    return _address(array), array.nbytes if is_whole else 0


def bytes_of(owner: Any) -> Any:
    """Return all memory of an array, or of another owner of memory, as an array of bytes."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(owner, numpy.ndarray):
        return owner
    return numpy.asarray(owner).ravel(order="K").view(numpy.uint8)


def _address(memory: Any) -> int:
    if type(memory) in _BUFFERS:
        memory = sys.modules["numpy"].frombuffer(memoryview(memory).cast("B"), "u1")
    address: int = memory.__array_interface__["data"][0]
    return address
