"""Tensors of torch, as bytes and back: with the memory that they share, and their gradients.

A tensor is a view of a storage. A storage that several tensors see is saved once, as a whole; otherwise only the part
that the one tensor sees is saved. torch is not imported here; a session that has a tensor has imported it. Tensors that
are more than a view of a storage in this machine's memory (sparse and quantised ones, those on other devices) are
pickled by torch itself.
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, class_attribute
from skep_workers.session.checkpoint.reducers.libraries.arrays import bytes_of
from skep_workers.session.checkpoint.reducers.libraries.buffers import buffer_at

COPIED_BYTES: Final = 16 * 1024 * 1024  # a restore copies storages up to this size, so that they can be resized
GRAPH: Final = "a tensor's autograd graph can't be saved: a restore has its values only"

Remark = Callable[[str], None]


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of this class, None if pickle does."""
    torch = sys.modules.get("torch")
    return reduce_storage if torch is not None and kind is torch.UntypedStorage else None


def is_tensor(kind: type) -> bool:
    """Return whether a class is one of tensors or parameters, or a cell's that defines no pickling of its own."""
    torch = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", None)
    if torch is None or tensor is None or not issubclass(kind, tensor):
        return False
    if kind in {tensor, torch.nn.Parameter}:
        return True
    is_library = (class_attribute(kind, "__module__") or "").partition(".")[0] == "torch"
    return not is_library and class_attribute(kind, "__reduce_ex__") is class_attribute(tensor, "__reduce_ex__")


def storage_of(tensor: Any) -> Any:
    """Return the storage that a tensor is a plain view of; None if it is another kind of tensor."""
    torch = sys.modules["torch"]
    is_plain = (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and not any(getattr(tensor, "names", ()))
    )
    if not is_plain:
        return None
    try:
        storage = tensor.untyped_storage()
        storage.data_ptr()
    except (RuntimeError, NotImplementedError):  # it only stands for another tensor: functorch, fake tensors
        return None
    return storage


def compute_in_one_thread() -> None:
    """Prevent torch, if it is loaded, from waiting for threads that a forked process doesn't have."""
    torch: Any = sys.modules.get("torch")
    with suppress(Exception):  # another module may have this name
        if torch is not None:
            torch.set_num_threads(1)


def base_storage(array: Any) -> Any:
    """Return the storage whose memory a NumPy array sees, None if it sees no tensor's."""
    torch = sys.modules.get("torch")
    base = array.base
    while base is not None and torch is not None:
        if isinstance(base, torch.Tensor):
            return storage_of(base)
        base = getattr(base, "base", None)
    return None


def place_of(storage: Any) -> tuple[int, int]:
    """Return the address and the size of a storage's memory."""
    return storage.data_ptr(), storage.nbytes()


def reduce_tensor(tensor: Any, memory: Any, offset: int, remark: Remark) -> Reduced:
    """Reduce a tensor. memory: the host that it is a part of, at `offset`; None: no other object sees its memory."""
    width = tensor.element_size()
    if memory is None:
        storage = tensor.untyped_storage()
        used = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        start = storage.data_ptr() + tensor.storage_offset() * width
        memory, offset = buffer_at(start, used * width if tensor.numel() else 0, storage), 0
    needs_grad = tensor.requires_grad
    if tensor.grad_fn is not None:
        remark(GRAPH)
        needs_grad = False  # so that backward() is refused; otherwise it would seem to work
    layout = (tensor.dtype, tuple(tensor.shape), tensor.stride(), offset // width)
    # No public interface lists hooks; torch's own pickling reads this attribute, too.
    hooks = list((getattr(tensor, "_backward_hooks", None) or {}).values()) if needs_grad else []
    state = dict(vars(tensor)), tensor.grad if tensor.is_leaf else None, hooks
    kind = type(tensor)
    return make_tensor, (kind, memory, *layout, needs_grad), state, None, None, set_tensor_state


def make_tensor(
    kind: Any, memory: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, needs_grad: bool
) -> Any:
    """Make a tensor as a part of a storage, or of another owner's memory."""
    torch = importlib.import_module("torch")
    storage = memory
    if isinstance(memory, bytes | bytearray):
        storage = make_storage(memory)
    elif not isinstance(memory, torch.UntypedStorage):
        storage = _storage_on(bytes_of(memory))
    tensor = torch.empty(0, dtype=dtype).set_(storage, offset, shape, strides)
    if kind is torch.nn.Parameter:
        return torch.nn.Parameter(tensor, requires_grad=needs_grad)
    if kind is not torch.Tensor:
        tensor = tensor.as_subclass(kind)
    return tensor.requires_grad_() if needs_grad else tensor


def set_tensor_state(tensor: Any, state: tuple[dict[str, Any], Any, list[Any]]) -> None:
    """Set a tensor's attributes and its gradient, and register its hooks."""
    attributes, grad, hooks = state
    vars(tensor).update(attributes)
    if grad is not None:
        tensor.grad = grad
    for hook in hooks:
        tensor.register_hook(hook)


def reduce_storage(storage: Any) -> Reduced:
    """Reduce a storage."""
    address, size = place_of(storage)
    return make_storage, (buffer_at(address, size, storage),)


def make_storage(memory: Any) -> Any:
    """Make a storage; a large one uses the restored memory itself, which can't be resized."""
    storage = _storage_on(memory)
    return storage.clone() if storage.nbytes() <= COPIED_BYTES else storage


def _storage_on(memory: Any) -> Any:
    """Return a storage that shares the memory of an array or another buffer."""
    torch = importlib.import_module("torch")
    view = memoryview(memory)
    if not view.nbytes:
        return torch.empty(0, dtype=torch.uint8).untyped_storage()
    if view.readonly:
        view = memoryview(bytearray(view))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.frombuffer(view.cast("B"), dtype=torch.uint8).untyped_storage()


def reduce_array_on(array: Any, storage: Any) -> Reduced:
    """Reduce a NumPy array that sees a tensor's memory."""
    offset = array.__array_interface__["data"][0] - storage.data_ptr()
    return make_array_on, (storage, array.dtype, array.shape, array.strides, offset, array.flags.writeable)


def make_array_on(
    storage: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, writeable: bool
) -> Any:
    """Make a NumPy array on a storage."""
    torch, numpy = importlib.import_module("torch"), importlib.import_module("numpy")
    flat = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    array = numpy.ndarray(shape, dtype, buffer=flat, offset=offset, strides=strides)
    array.flags.writeable = writeable
    return array
