"""Kinds of the standard library whose subclasses, a cell's or a library's, are saved in the same way as the kind."""

import asyncio
import logging
import weakref
from concurrent.futures import Executor
from threading import local
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reducer, class_attribute
from skep_workers.session.checkpoint.reducers.language.weak_references import reduce_container, reduce_finalizer
from skep_workers.session.checkpoint.reducers.language.weak_references import reduce_reference as reduce_weak_subclass
from skep_workers.session.checkpoint.reducers.stdlib.asyncio_objects import reduce_future, refuse_handle
from skep_workers.session.checkpoint.reducers.stdlib.logging_objects import reduce_handler
from skep_workers.session.checkpoint.reducers.stdlib.thread_objects import reduce_pool, reduce_thread_local

_REDUCERS: Final[dict[type, Reducer]] = {
    asyncio.Future: reduce_future,
    asyncio.Handle: refuse_handle,
    logging.Handler: reduce_handler,
    local: reduce_thread_local,
    Executor: reduce_pool,
    weakref.ref: reduce_weak_subclass,
    weakref.WeakValueDictionary: reduce_container,
    weakref.WeakKeyDictionary: reduce_container,
    weakref.WeakSet: reduce_container,
    weakref.finalize: reduce_finalizer,
}
SUBCLASSED_KINDS: Final = tuple(_REDUCERS)
_PICKLE_HOOKS: Final = ("__reduce__", "__reduce_ex__", "__getstate__")


def reduce_as_its_kind(obj: Any) -> Any:
    """Reduce an instance of one of SUBCLASSED_KINDS."""
    return next(reduce(obj) for kind, reduce in _REDUCERS.items() if isinstance(obj, kind))


def has_no_pickle_hook(kind: type) -> bool:
    """Return whether a class defines nothing about how its instances are pickled."""
    return all(class_attribute(kind, hook) is object.__dict__[hook] for hook in _PICKLE_HOOKS)
