"""Views, weak references and views of memory, as bytes and back; checkpoints refer to the functions here."""

import gc
import weakref
from types import MappingProxyType
from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer


def reduce_view_of(method: str) -> Reducer:
    """Return a reducer for views of a dict that this method makes."""

    def reduce(view: Any) -> Reduced:
        [source] = gc.get_referents(view)
        return make_view, (source, method)

    return reduce


def make_view(source: Any, method: str) -> Any:
    """Return a view of a dict."""
    return getattr(type(source), method)(source)


def reduce_mapping_proxy(proxy: Any) -> Reduced:
    """Reduce a read-only view of a dict, or of the names of a class."""
    [source] = gc.get_referents(proxy)
    if type(source) is dict:
        owner = getattr(source.get("__dict__", source.get("__weakref__")), "__objclass__", None)
        if owner is not None and vars(owner) == proxy:
            return vars, (owner,)  # a result of vars() for a class
    return MappingProxyType, (source,)


def reduce_memory_view(view: memoryview) -> Reduced:
    """Reduce a view of memory: to its place in the source where that is known, otherwise to a copy of its part."""
    source = view.obj
    if view.c_contiguous and type(source) is not memoryview:
        whole = memoryview(source)
        start = 0 if view.nbytes == whole.nbytes else _offset(whole, view)
        if start is not None and whole.c_contiguous:
            return make_memory_view, (source, start, view.nbytes, view.format, view.shape, view.readonly)
    part = view.tobytes() if view.readonly else bytearray(view.tobytes())
    return make_memory_view, (part, 0, view.nbytes, view.format, view.shape, view.readonly)


def _offset(whole: memoryview, view: memoryview) -> int | None:
    """Return where in `whole` a part begins; only writable memory exposes its address."""
    if whole.readonly or view.readonly or not view.nbytes:
        return None
    import ctypes  # noqa: PLC0415 - rarely needed, and slow to import

    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (whole.cast("B"), view.cast("B"))]
    return addresses[1] - addresses[0]


def make_memory_view(source: Any, start: int, size: int, layout: str, shape: tuple[int, ...], readonly: bool) -> Any:
    """Return a view of a part of some memory."""
    view = memoryview(source).cast("B")[start : start + size]
    if (layout, shape) != ("B", (size,)):
        view = view.cast(layout, shape)  # type: ignore[call-overload]
    return view.toreadonly() if readonly else view


def reduce_weak_reference(reference: Any) -> Reduced:
    """Reduce a weak reference, dead or alive."""
    found = reference()
    if found is None:
        return make_dead_reference, ()
    return weakref.ref, (found, reference.__callback__)


class _Gone:
    """The target of dead references."""


def make_dead_reference() -> Any:
    """Return a dead reference."""
    return weakref.ref(_Gone())


def reduce_weak_proxy(proxy: Any) -> Reduced:
    """Reduce a weak proxy, dead or alive."""
    try:
        return weakref.proxy, (proxy.__init__.__self__,)
    except ReferenceError:
        return make_dead_proxy, ()


def make_dead_proxy() -> Any:
    """Return a dead proxy."""
    return weakref.proxy(_Gone())


def reduce_weak_method(reference: Any) -> Reduced:
    """Reduce a weak reference to a bound method."""
    method = reference()
    return (make_dead_reference, ()) if method is None else (weakref.WeakMethod, (method,))
