"""Arrays of NumPy's other classes, and of classes that cells derived, as bytes and back; and functions on arrays.

Such an array is saved as a plain array on the same memory, with its class and its attributes. So its memory is shared
like a plain array's (see `arrays`). A memory map is saved as its file, which a restore maps again. NumPy is not
imported here; a session that has such an array has imported it.
"""

import gc
import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.definitions import Reduced, class_attribute
from skep_workers.session.checkpoint.reducers.libraries.arrays import can_be_mapped, is_map, owner_of, place_of
from skep_workers.session.checkpoint.reducers.libraries.buffers import buffer_at

GONE: Final = "its file can't be mapped again: a restore has its values only"
_MAP: Final = "_mmap"  # of a memory map; a view of the map has it again
_PRIVATE: Final = "c"


def is_array_kind(kind: type) -> bool:
    """Return whether a class is a subclass of NumPy's array that defines no pickling of its own."""
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
    """Reduce an array of another class."""
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
    """Return the parts that restore an array of another class that owns its memory.

    A view of it can't be used: it would be saved as a part of this array.
    """
    order = "F" if array.flags.fnc else "C"
    address, size = place_of(array)
    if array.dtype.hasobject or (array.nbytes and not size):
        plain = array.view(sys.modules["numpy"].ndarray)
        return plain.ravel(order=order).tolist(), array.dtype, array.shape, order
    return buffer_at(address, size, array), array.dtype, array.shape, order


def make_array_of(kind: Any, plain: Any) -> Any:
    """Make an array of a class on the memory of a plain array, or from the parts of one."""
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
    """Map a file again; the content of a private map is written to it again."""
    numpy = importlib.import_module("numpy")
    order, content = rest
    made = numpy.memmap(path, dtype, "r+" if mode == "w+" else mode, offset, shape, order)
    if content is not None:
        made[...] = numpy.ndarray(shape, dtype, buffer=content, order=order)
    return made


def make_map_view(kind: Any, plain: Any, host: Any) -> Any:
    """Make a part of a memory map, with the same attributes about its file."""
    view = plain.view(kind)
    vars(view).update(vars(host))
    return view


# --- functions ----------------------------------------------------------------------------------------------------


def is_ufunc(kind: type) -> bool:
    """Return whether a class is NumPy's type of functions on arrays."""
    return kind is getattr(sys.modules.get("numpy"), "ufunc", None)


def reduce_ufunc(function: Any) -> Any:
    """Reduce a function that `frompyfunc` made from a Python function."""
    for made_of in gc.get_referents(function):
        if callable(made_of):
            return make_ufunc, (made_of, function.nin, function.nout, function.identity)
    return NotImplemented


def make_ufunc(made_of: Any, inputs: int, outputs: int, identity: Any) -> Any:
    """Make a function on arrays from a Python function."""
    return importlib.import_module("numpy").frompyfunc(made_of, inputs, outputs, identity=identity)
