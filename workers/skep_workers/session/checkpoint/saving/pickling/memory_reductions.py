"""Reductions of objects that are views of memory, which other objects of the stream may see, too.

See `shared_memory`: memory that several objects see is saved once, and each of them as a part of it.
"""

from collections.abc import Callable
from typing import Any

from skep_workers.session.checkpoint.reducers.libraries import array_kinds, arrays, torch_tensors
from skep_workers.session.checkpoint.reducers.stdlib import c_types
from skep_workers.session.checkpoint.saving.pickling.notes import StreamNotes
from skep_workers.session.checkpoint.saving.pickling.shared_memory import SeenMemory


def reduce_numbers(value: Any, memory: SeenMemory, notes: StreamNotes, *, is_own: bool) -> Any:
    """Reduce a tensor, an array of another class than NumPy's own, or a ufunc. is_own: a cell defined its class."""
    kind = type(value)
    if torch_tensors.is_tensor(kind):
        return _reduce_tensor(value, memory, notes.remarks.append)
    if array_kinds.is_ufunc(kind):
        return array_kinds.reduce_ufunc(value)
    notes.restores_by_code = notes.restores_by_code or is_own
    return array_kinds.reduce_array_kind(value, notes.remarks.append)


def reduce_array(array: Any, memory: SeenMemory) -> Any:
    """Reduce an array of NumPy's."""
    owner = arrays.owner_of(array)
    if owner is None:
        storage = torch_tensors.base_storage(array)
        if storage is not None:
            is_shared = _is_storage_shared(storage, memory)
            return torch_tensors.reduce_array_on(array, storage) if is_shared else NotImplemented
        if array.base is None:
            memory.note(array, *arrays.place_of(array), is_foreign=False)
        return NotImplemented
    is_part = False
    if arrays.is_any_array(owner):
        memory.note(owner, *arrays.place_of(owner), is_foreign=False)
        # A memory map is saved as its file. An array that repeats its owner, as broadcasting does, is larger as a copy.
        is_part = owner.nbytes < array.nbytes or (arrays.is_map(owner) and arrays.can_be_mapped(owner))
    is_shared = memory.is_shared(owner)
    return arrays.reduce_view(array, owner) if is_shared or is_part else NotImplemented


def reduce_record(record: Any, memory: SeenMemory) -> Any:
    """Reduce a scalar of a structured array, which may be a view of the array."""
    owner = arrays.owner_of(record) if record.dtype.names else None
    is_shared = owner is not None and memory.is_shared(owner)
    return arrays.reduce_record(record, owner) if is_shared else NotImplemented


def _reduce_tensor(tensor: Any, memory: SeenMemory, add_remark: Callable[[str], None]) -> Any:
    """Reduce a tensor; `add_remark` records what a restore will not have of it."""
    storage = torch_tensors.storage_of(tensor)
    if storage is None:
        return NotImplemented
    is_shared, host = _is_storage_shared(storage, memory), memory.host(storage)
    owner, start = host if host is not None else (storage if is_shared else None, 0)
    offset = start + tensor.storage_offset() * tensor.element_size()
    return torch_tensors.reduce_tensor(tensor, owner, offset, add_remark)


def reduce_c_value(value: Any, memory: SeenMemory) -> Any:
    """Reduce a value of ctypes. Raises what ctypes raises for one that has pointers."""
    reduced = value.__reduce__()
    memory.note(value, *c_types.place_of(value))
    host = memory.host(value)
    return reduced if host is None else c_types.reduce_part(value, *host)


def _is_storage_shared(storage: Any, memory: SeenMemory) -> bool:
    """Note an object that sees a tensor's storage; return whether another object of the stream sees it, too."""
    memory.note(storage, *torch_tensors.place_of(storage))
    return memory.is_shared(storage)
