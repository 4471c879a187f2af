"""Arrays of NumPy's other classes, and of classes that cells derived, as bytes and back; and functions on arrays.

Such an array is a plain one of the same memory, seen as its class, with its attributes. So its memory is shared as a
plain array's is (see `arrays`). A memory map is its file: a restore maps the file again. NumPy itself is not imported
here; where there is such an array, there is NumPy.
"""

import gc
import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.arrays import can_be_mapped, is_map, owner_of, place_of
from skep_workers.session.checkpoint.reducers.buffers import buffer_at
from skep_workers.session.checkpoint.reducers.definitions import Reduced, class_attribute

GONE: Final = "its file can't be mapped again: a restore has its values only"
_MAP: Final = "_mmap"  # of a memory map, which finds it again by what it is a view of
_PRIVATE: Final = "c"


def is_array_kind(kind: type) -> bool:
    """Return whether it is a subclass of NumPy's array that has no pickling of its own."""
    numpy = sys.modules.get("numpy")
    array = getattr(numpy, "ndarray", None)
    if numpy is None or array is None or kind is array or not issubclass(kind, array):
        return False
    known = (array, numpy.ma.MaskedArray)
    return class_attribute(kind, "__reduce_ex__") is array.__reduce_ex__ and any(
        all(class_attribute(kind, name) is class_attribute(each, name) for name in ("__reduce__", "__setstate__"))
        for each in known
    )


def reduce_array_kind(array: Any, remark: Callable[[str], None]) -> Reduced:
    """Save an array of another class."""
    numpy, kind = sys.modules["numpy"], type(array)
    if is_map(array) and can_be_mapped(array):
        return _reduce_map(array)
    if isinstance(array, numpy.memmap) and not is_map(array):
        host = owner_of(array)
        if is_map(host) and can_be_mapped(host):
            return make_map_view, (kind, array.view(numpy.ndarray), host)
    if is_map(array):
        remark(GONE)
    state = {name: value for name, value in vars(array).items() if name != _MAP} or None
    is_own = array.base is None or is_map(array)
    plain = _own(array) if is_own else array.view(numpy.ndarray)
    return make_array_of, (kind, plain), state, None, None, set_array_state


def _own(array: Any) -> Any:
    """Return what saves the memory that an array of another class has itself: a view would be saved as a part of it."""
    order = "F" if array.flags.fnc else "C"
    address, size = place_of(array)
    if array.dtype.hasobject or (array.nbytes and not size):
        plain = array.view(sys.modules["numpy"].ndarray)
        return plain.ravel(order=order).tolist(), array.dtype, array.shape, order
    return buffer_at(address, size, array), array.dtype, array.shape, order


def make_array_of(kind: Any, plain: Any) -> Any:
    """Make an array of a class of memory: a plain array, or what there is of one."""
    numpy = importlib.import_module("numpy")
    if not isinstance(plain, tuple):
        return plain.view(kind)
    memory, dtype, shape, order = plain
    if isinstance(memory, list):
        made = numpy.empty(len(memory), dtype)
        made[:] = memory
        return made.reshape(shape, order=order).view(kind)
    memory = bytearray(memory) if isinstance(memory, bytes) else memory
    return numpy.ndarray(shape, dtype, buffer=memory, order=order).view(kind)


def set_array_state(array: Any, attributes: dict[str, Any]) -> None:
    """Set an array's attributes."""
    vars(array).update(attributes)


# --- memory maps --------------------------------------------------------------------------------------------------


def _reduce_map(array: Any) -> Reduced:
    path, here = os.fspath(array.filename), os.getcwd() + os.sep
    order = "F" if array.flags.fnc else "C"
    content = buffer_at(*place_of(array), array) if array.mode == _PRIVATE else None
    return make_map, (path.removeprefix(here), array.dtype, array.mode, array.offset, array.shape, (order, content))


def make_map(path: str, dtype: Any, mode: str, offset: int, shape: tuple[int, ...], rest: tuple[str, Any]) -> Any:
    """Map a file again; what was written to a private map is written again."""
    numpy = importlib.import_module("numpy")
    order, content = rest
    made = numpy.memmap(path, dtype, "r+" if mode == "w+" else mode, offset, shape, order)
    if content is not None:
        made[...] = numpy.ndarray(shape, dtype, buffer=content, order=order)
    return made


def make_map_view(kind: Any, plain: Any, host: Any) -> Any:
    """Make a part of a memory map, which knows of its file what the whole does."""
    view = plain.view(kind)
    vars(view).update(vars(host))
    return view


# --- functions ----------------------------------------------------------------------------------------------------


def is_ufunc(kind: type) -> bool:
    """Return whether instances are NumPy's functions on arrays."""
    return kind is getattr(sys.modules.get("numpy"), "ufunc", None)


def reduce_ufunc(function: Any) -> Any:
    """Save a function that `frompyfunc` made of one of Python."""
    for made_of in gc.get_referents(function):
        if callable(made_of):
            return make_ufunc, (made_of, function.nin, function.nout, function.identity)
    return NotImplemented


def make_ufunc(made_of: Any, inputs: int, outputs: int, identity: Any) -> Any:
    """Make a function on arrays of one of Python."""
    return importlib.import_module("numpy").frompyfunc(made_of, inputs, outputs, identity=identity)
