"""How objects of a session become bytes: pickle, taught that there is one namespace.

- A function that a cell defined is pickled by value, but with a reference to *the* namespace as its globals: after a
  restore it sees later rebindings, and `global` counters still count.
- Classes and functions of cells ("definitions") are shared by everything that mentions them. They are pickled by value
  in one stream of their own; every other stream names them by a key. So a class is one class after a restore, however
  many streams have instances of it.
- Modules of the environment go by name; those of the session's own are definitions, too.
- What modules of the environment own is saved as a reference to them.
- Large buffers go out of band (pickle protocol 5), so that they are neither copied nor pickled.
"""

import asyncio
import copyreg
import enum
import io
import logging
import pickle
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from functools import cached_property, partial
from threading import local
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint import stored_names
from skep_workers.session.checkpoint.reducers import (
    array_kinds,
    arrays,
    c_types,
    libraries,
    models,
    registrations,
    structs,
    torch_tensors,
)
from skep_workers.session.checkpoint.reducers.asyncio_objects import reduce_future, refuse_handle
from skep_workers.session.checkpoint.reducers.classes import reduce_class, reduce_member
from skep_workers.session.checkpoint.reducers.code import reduce_code
from skep_workers.session.checkpoint.reducers.definitions import (
    DefinitionKeys,
    Reducer,
    class_attribute,
    definition,
    is_definition,
    is_found,
    is_made_by_c,
    module_of,
    registry,
)
from skep_workers.session.checkpoint.reducers.descriptors import DESCRIPTORS, reduce_descriptor
from skep_workers.session.checkpoint.reducers.exceptions import reduce_exception
from skep_workers.session.checkpoint.reducers.functions import reduce_function
from skep_workers.session.checkpoint.reducers.instances import answers_itself, reduce_instance
from skep_workers.session.checkpoint.reducers.library_names import find_in_module, library_place
from skep_workers.session.checkpoint.reducers.locks import LIVING, refuse_living
from skep_workers.session.checkpoint.reducers.logging_objects import reduce_handler
from skep_workers.session.checkpoint.reducers.modules import (
    ModuleContent,
    modules_by_dict,
    reduce_content,
    reduce_module,
)
from skep_workers.session.checkpoint.reducers.origins import origins
from skep_workers.session.checkpoint.reducers.owned import owned, reduce_owned
from skep_workers.session.checkpoint.reducers.paths import PATHS, make_path_below_home
from skep_workers.session.checkpoint.reducers.standard_library import (
    ENGINE,
    REDUCERS,
    REMADE_EMPTY,
    reduce_builtin_type,
    reduce_engine_object,
)
from skep_workers.session.checkpoint.reducers.thread_objects import reduce_pool, reduce_thread_local
from skep_workers.session.checkpoint.reducers.type_parameters import is_evaluated_late, reduce_type_parameter
from skep_workers.session.checkpoint.reducers.weak_references import reduce_container, reduce_finalizer
from skep_workers.session.checkpoint.reducers.weak_references import reduce_reference as reduce_weak_subclass
from skep_workers.session.checkpoint.saving.kinds import Kinds, Traits, is_common_metaclass, reduces_plainly
from skep_workers.session.checkpoint.saving.references import (
    Prefixed,
    Reference,
    Swap,
    reduce_prefixed,
    reduce_reference,
    reduce_swap,
)
from skep_workers.session.checkpoint.saving.shared_memory import NOTHING, SeenMemory, Shared

__all__ = ["DefinitionKeys", "SnapshotPickler", "Untrusted", "is_definition", "registry"]

stored_names.register()

_dumps: Final = pickle.dumps  # bound early: user code may patch pickle

PROTOCOL: Final = 5


class Untrusted(Exception):
    """An object whose pickling runs code that isn't known to be short; only a forked child may do that."""


# What objects said before a child was forked, by id; see early_reductions. Empty but for the child, and for its fork.
Reductions = dict[int, tuple[Any, tuple[Any, ...]]]
early_reductions: Final[Reductions] = {}


class SnapshotPickler(pickle.Pickler):
    """Pickles parts of one namespace.

    keys: where definitions get their keys from; None in the stream that holds the definitions themselves.
    is_trusting: raise Untrusted for objects of types that are not known to pickle fast and without user code.
    shared: memory that several objects of this stream see.
    kinds: what is known of classes, for all picklers of one snapshot.
    """

    def __init__(
        self,
        file: io.BytesIO,
        *,
        keys: DefinitionKeys | None,
        is_trusting: bool,
        buffer_callback: Callable[[pickle.PickleBuffer], Any],
        shared: Shared = NOTHING,
        kinds: Kinds | None = None,
    ) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._keys = keys
        self._is_trusting = is_trusting
        self._kinds = kinds or Kinds()
        self.memory = SeenMemory(shared)
        self.named: set[str] = set()
        self.files: set[str] = set()
        self.constants: set[int] = set()
        self.remarks: list[str] = []  # what of the values a restore won't have
        self.referred: set[int] = set()  # ids of what modules own and the stream has references to
        self.modules: list[ModuleType] = []  # the session's own, of which only empty ones are in the stream
        self.restores_by_code = False  # whether loading it runs code of cells
        self.hashes_by_state = False  # whether loading it may hash what has no state yet
        self.unknown: set[str] = set()  # classes of libraries, of which it isn't known what loading them does
        self.finalized: set[type] = set()  # classes that have a `__del__`
        self.classes: list[type] = []  # definitions that were pickled by value
        self.is_remade = False  # whether loading it may give something else, since code of cells has a say in it
        self._unfilled: set[int] = set()  # ids of models of which not all is pickled yet
        self._reducing_themselves: set[type] = set()  # types of cells that say how they are pickled
        self._plain: set[type] = set()  # types of which pickle itself knows enough

    def reducer_override(self, obj: Any) -> Any:
        """Decide about functions, classes and instances; everything else pickle knows by itself."""
        kind = type(obj)
        if early_reductions and (said := early_reductions.get(id(obj))) is not None:
            return again(said[1])
        if kind in self._plain:
            return NotImplemented
        if kind in self._reducing_themselves:
            return self._own_reduction(obj, kind)
        if kind is FunctionType or issubclass(kind, type) or is_definition(obj):
            return self._definition(obj, kind)
        if issubclass(kind, ModuleType):
            return reduce_module(obj)
        if kind in _STREAM_PARTS:
            return self._stream_part(obj, kind)
        if kind is CodeType:
            self.files.add(obj.co_filename)
            self.constants.update(map(id, obj.co_consts))
            return reduce_code(obj)
        if arrays.is_array(kind):
            return self._array(obj)
        if arrays.is_record(kind):
            owner = arrays.owner_of(obj) if obj.dtype.names else None
            is_shared = owner is not None and self.memory.is_shared(owner)
            return arrays.reduce_record(obj, owner) if is_shared else NotImplemented
        place = owned.place(obj)
        if place is not None:
            self.referred.add(id(obj))
            return reduce_owned(place)
        reduce = REDUCERS.get(kind)
        if reduce is not None:
            reduced = reduce(obj)
            is_below_home = kind in PATHS and reduced[0] is make_path_below_home  # a fork's is another path
            self.is_remade = self.is_remade or kind in REMADE_EMPTY or is_below_home
            return reduced
        if module_of(kind).startswith(ENGINE):
            return reduce_engine_object(obj)
        traits = self._kinds.traits(kind)
        is_own = traits.is_own
        if is_own and issubclass(kind, enum.Enum):
            return reduce_member(obj, by_value=self._keys is None)
        is_living = issubclass(kind, LIVING)
        if is_living:
            refuse_living(obj)
        self._note(kind, traits)
        reduce = libraries.reducer_of(kind)
        if reduce is not None:
            return reduce(obj)
        if torch_tensors.is_tensor(kind) or array_kinds.is_array_kind(kind) or array_kinds.is_ufunc(kind):
            return self._numbers(obj, kind, is_own=is_own)
        if issubclass(kind, BaseException):
            return reduce_exception(obj)
        if issubclass(kind, _KINDS_WITH_SUBCLASSES) and _has_no_say(kind):
            reduced = _reduce_as_its_kind(obj)
            if reduced is not NotImplemented:
                return reduced
        if issubclass(kind, DESCRIPTORS):
            return reduce_descriptor(obj)
        if is_own and structs.is_struct(kind):
            return structs.reduce_instance(obj)
        if c_types.is_c_function(kind):
            return c_types.reduce_c_function(obj)
        if c_types.is_c_value(kind):
            return self._c_value(obj)
        if is_own and not reduces_plainly(kind):
            if not is_living:
                self._reducing_themselves.add(kind)
            return self._own_reduction(obj, kind)
        if answers_itself(kind) and reduces_plainly(kind):
            return reduce_instance(obj, PROTOCOL)
        if not is_living:  # each is asked
            self._plain.add(kind)
        return NotImplemented

    def _numbers(self, obj: Any, kind: type, *, is_own: bool) -> Any:
        """Save a tensor, an array of another class than NumPy's own, or a function of arrays."""
        if torch_tensors.is_tensor(kind):
            return self._tensor(obj)
        if array_kinds.is_ufunc(kind):
            return array_kinds.reduce_ufunc(obj)
        self.restores_by_code = self.restores_by_code or is_own
        return array_kinds.reduce_array_kind(obj, self.remarks.append)

    def _note(self, kind: type, traits: Traits) -> None:
        """Note what loading an instance may do. Raises Untrusted."""
        if self._is_trusting and not traits.is_trusted:
            raise Untrusted(traits.name)
        self.is_remade = self.is_remade or traits.is_remade
        self.restores_by_code = self.restores_by_code or (traits.is_own and traits.loads_by_code)
        self.hashes_by_state = self.hashes_by_state or traits.hashes_by_state
        if traits.is_finalized:
            self.finalized.add(kind)
        if not traits.is_own and not traits.is_trusted:
            self.unknown.add(traits.name)

    def _stream_part(self, obj: Any, kind: type) -> Any:
        """Save what only this stream consists of."""
        if kind is ModuleContent:
            return reduce_content(obj)
        if kind is Reference:
            return reduce_reference(obj)
        return reduce_swap(obj, self) if kind is Swap else reduce_prefixed(obj)

    def _definition(self, obj: Any, kind: type) -> Any:
        if not is_definition(obj):
            return self._function(obj) if kind is FunctionType else self._class_by_name(obj)
        if self._keys is not None:
            key = self._keys.key(obj)
            self.named.add(key)
            return definition, (key,)
        if kind is FunctionType:
            return reduce_function(obj, self._own_space(obj))
        if issubclass(kind, type):
            # Its metaclass has a say in how it is made; and its layout may be one that can't be made.
            if self._is_trusting and not self._kinds.is_tried(obj):
                raise Untrusted(kind.__qualname__)
            self.restores_by_code = self.restores_by_code or not is_common_metaclass(kind)
            self.classes.append(obj)
            return self._class(obj)
        if issubclass(kind, ModuleType):
            self.modules.append(obj)
            return reduce_module(obj)
        if self._is_trusting and is_evaluated_late(obj):
            raise Untrusted(kind.__qualname__)
        return reduce_type_parameter(obj)

    def _class(self, kind: type) -> Any:
        if type(kind) is type:
            function, arguments, state, *rest = reduce_class(kind)
            return function, arguments, (*state, *registrations.registers_of(kind)), *rest
        if structs.is_struct(kind):
            return structs.reduce_struct(kind)
        if models.is_model(kind):
            return self._model(kind)
        return c_types.reduce_c_type(kind) if c_types.is_c_type(kind) else reduce_class(kind)

    def _model(self, kind: type) -> Any:
        reduced = models.reduce_parametrised(kind, lambda part: id(part) not in self._unfilled)
        if reduced is not None:
            return reduced
        self._unfilled.add(id(kind))
        function, arguments, state, *rest = reduce_class(kind)
        filled = models.Filled(partial(self._unfilled.discard, id(kind)))
        return function, arguments, (*state, filled), *rest

    def _function(self, function: FunctionType) -> Any:
        module = sys.modules.get(function.__module__ or "")
        if module is None or vars(module) is not function.__globals__:
            module = self._modules.get(id(function.__globals__))
        if module is not None and is_found(function, function.__module__, function.__qualname__):
            return NotImplemented
        place = library_place(function, function.__module__, function.__qualname__)
        return reduce_function(function, self._modules) if place is None else (find_in_module, place)

    def _class_by_name(self, kind: type) -> Any:
        module, name = module_of(kind), type.__dict__["__qualname__"].__get__(kind)
        if not is_made_by_c(kind) and not is_found(kind, module, name):
            place = library_place(kind, module, name)
            if place is not None:
                return find_in_module, place
        return reduce_builtin_type(kind)

    def _own_space(self, function: FunctionType) -> dict[int, ModuleType]:
        """Return the module of the session's own that a function is of, by the id of its dict."""
        module = origins.own_module(function.__globals__)
        return {} if module is None else {id(function.__globals__): module}

    def _array(self, array: Any) -> Any:
        owner = arrays.owner_of(array)
        if owner is None:
            storage = torch_tensors.base_storage(array)
            if storage is not None:
                return torch_tensors.reduce_array_on(array, storage) if self._sees(storage) else NotImplemented
            if array.base is None:
                self.memory.note(array, *arrays.place_of(array), is_foreign=False)
            return NotImplemented
        is_part = False
        if arrays.is_any_array(owner):
            self.memory.note(owner, *arrays.place_of(owner), is_foreign=False)
            # A map is its file; and what repeats its owner, as broadcasting does, would be larger as a copy.
            is_part = owner.nbytes < array.nbytes or (arrays.is_map(owner) and arrays.can_be_mapped(owner))
        is_shared = self.memory.is_shared(owner)
        return arrays.reduce_view(array, owner) if is_shared or is_part else NotImplemented

    def _sees(self, storage: Any) -> bool:
        """Note that something sees a tensor's storage; returns whether something else does, too."""
        self.memory.note(storage, *torch_tensors.place_of(storage))
        return self.memory.is_shared(storage)

    def _tensor(self, tensor: Any) -> Any:
        storage = torch_tensors.storage_of(tensor)
        if storage is None:
            return NotImplemented
        is_shared, host = self._sees(storage), self.memory.host(storage)
        memory, start = host if host is not None else (storage if is_shared else None, 0)
        offset = start + tensor.storage_offset() * tensor.element_size()
        return torch_tensors.reduce_tensor(tensor, memory, offset, self.remarks.append)

    def _c_value(self, value: Any) -> Any:
        reduced = value.__reduce__()  # refused, where it has pointers
        self.memory.note(value, *c_types.place_of(value))
        host = self.memory.host(value)
        return reduced if host is None else c_types.reduce_part(value, *host)

    def _own_reduction(self, obj: Any, kind: type) -> Any:
        """Ask an object that says itself how to be pickled: by a global name is no answer, nothing is bound yet."""
        reduced = obj.__reduce_ex__(PROTOCOL)
        self.restores_by_code = True
        if isinstance(reduced, str):
            return copyreg.__newobj__, (kind,), object.__getstate__(obj)  # type: ignore[attr-defined]
        return reduced

    @cached_property
    def _modules(self) -> dict[int, ModuleType]:
        return modules_by_dict()


_STREAM_PARTS: Final = frozenset({ModuleContent, Prefixed, Reference, Swap})
# Kinds of the standard library whose subclasses, a cell's or a library's, are saved as they are.
_SUBCLASSED: Final[dict[type, Reducer]] = {
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
_KINDS_WITH_SUBCLASSES: Final = tuple(_SUBCLASSED)


def _reduce_as_its_kind(obj: Any) -> Any:
    return next(reduce(obj) for kind, reduce in _SUBCLASSED.items() if isinstance(obj, kind))


def again(said: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a reduction once more; its items come from an iterator."""
    items = (None if each is None else iter(each) for each in said[3:5])
    return (*said[:3], *items, *said[5:])


def _has_no_say(kind: type) -> bool:
    """Return whether a class says nothing of its own about how its instances are pickled."""
    hooks = ("__reduce__", "__reduce_ex__", "__getstate__")
    return all(class_attribute(kind, hook) is object.__dict__[hook] for hook in hooks)


def dumps_plain(value: Any) -> bytes:
    """Return the stream of plain values, which nothing of ours is needed for."""
    return _dumps(value, protocol=PROTOCOL)
