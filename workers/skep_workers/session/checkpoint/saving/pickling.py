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
from collections.abc import Callable
from concurrent.futures import Executor
from functools import cached_property
from threading import local
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint import stored_names
from skep_workers.session.checkpoint.reducers import arrays
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
from skep_workers.session.checkpoint.saving.kinds import Kinds, Traits, is_common_metaclass, reduces_plainly
from skep_workers.session.checkpoint.saving.memo import Memo
from skep_workers.session.checkpoint.saving.references import (
    Prefixed,
    Reference,
    Swap,
    reduce_prefixed,
    reduce_reference,
    reduce_swap,
)

__all__ = ["DefinitionKeys", "SnapshotPickler", "Untrusted", "is_definition", "registry"]

stored_names.register()

_dumps: Final = pickle.dumps  # bound early: user code may patch pickle

PROTOCOL: Final = 5


class Untrusted(Exception):
    """An object whose pickling runs code that isn't known to be short; only a forked child may do that."""


class SnapshotPickler(pickle.Pickler):
    """Pickles parts of one namespace.

    keys: where definitions get their keys from; None in the stream that holds the definitions themselves.
    is_trusting: raise Untrusted for objects of types that are not known to pickle fast and without user code.
    shared_memory: ids of what owns memory that several arrays of this stream see.
    kinds: what is known of classes, for all picklers of one snapshot.
    """

    def __init__(
        self,
        file: io.BytesIO,
        *,
        keys: DefinitionKeys | None,
        is_trusting: bool,
        buffer_callback: Callable[[pickle.PickleBuffer], Any],
        shared_memory: frozenset[int] = frozenset(),
        kinds: Kinds | None = None,
    ) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._keys = keys
        self._is_trusting = is_trusting
        self._kinds = kinds or Kinds()
        self._shared_memory = shared_memory
        self.named: set[str] = set()
        self.files: set[str] = set()
        self.constants: set[int] = set()
        self.owners: dict[int, Any] = {}
        self._viewed: set[int] = set()
        self.viewed_twice: frozenset[int] = frozenset()
        self.referred: set[int] = set()  # ids of what modules own and the stream has references to
        self.modules: list[ModuleType] = []  # the session's own, of which only empty ones are in the stream
        self.restores_by_code = False  # whether loading it runs code of cells
        self.hashes_by_state = False  # whether loading it may hash what has no state yet
        self.unknown: set[str] = set()  # classes of libraries, of which it isn't known what loading them does
        self.finalized: set[type] = set()  # classes that have a `__del__`
        self.classes: list[type] = []  # definitions that were pickled by value
        self.is_remade = False  # whether loading it may give something else, since code of cells has a say in it
        self._plain: set[type] = set()  # types of which pickle itself knows enough

    def memory_to_share(self, memo: Memo) -> frozenset[int]:
        """Give what owns memory that more than one of the arrays met see; in vain if nothing was pickled yet."""
        if not self.owners:
            return frozenset()
        return self.viewed_twice | frozenset(memo.among(self.owners))

    def reducer_override(self, obj: Any) -> Any:
        """Decide about functions, classes and instances; everything else pickle knows by itself."""
        kind = type(obj)
        if kind in self._plain:
            return NotImplemented
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
        if issubclass(kind, BaseException):
            return reduce_exception(obj)
        if issubclass(kind, _KINDS_WITH_SUBCLASSES) and _has_no_say(kind):
            reduced = _reduce_as_its_kind(obj)
            if reduced is not NotImplemented:
                return reduced
        if issubclass(kind, DESCRIPTORS):
            return reduce_descriptor(obj)
        if is_own and not reduces_plainly(kind):
            return self._own_reduction(obj, kind)
        if answers_itself(kind) and reduces_plainly(kind):
            return reduce_instance(obj, PROTOCOL)
        if not is_living:  # each is asked
            self._plain.add(kind)
        return NotImplemented

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
            return reduce_class(obj)
        if issubclass(kind, ModuleType):
            self.modules.append(obj)
            return reduce_module(obj)
        if self._is_trusting and is_evaluated_late(obj):
            raise Untrusted(kind.__qualname__)
        return reduce_type_parameter(obj)

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
            return NotImplemented
        number = id(owner)
        self.owners[number] = owner
        if number in self._viewed:
            self.viewed_twice |= {number}
        self._viewed.add(number)
        return arrays.reduce_view(array, owner) if number in self._shared_memory else NotImplemented

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
}
_KINDS_WITH_SUBCLASSES: Final = tuple(_SUBCLASSED)


def _reduce_as_its_kind(obj: Any) -> Any:
    return next(reduce(obj) for kind, reduce in _SUBCLASSED.items() if isinstance(obj, kind))


def _has_no_say(kind: type) -> bool:
    """Return whether a class says nothing of its own about how its instances are pickled."""
    hooks = ("__reduce__", "__reduce_ex__", "__getstate__")
    return all(class_attribute(kind, hook) is object.__dict__[hook] for hook in hooks)


def dumps_plain(value: Any) -> bytes:
    """Return the stream of plain values, which nothing of ours is needed for."""
    return _dumps(value, protocol=PROTOCOL)
