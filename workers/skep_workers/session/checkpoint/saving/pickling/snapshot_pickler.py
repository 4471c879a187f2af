"""How objects of a session become bytes: pickle, taught that there is one namespace.

- A function that a cell defined is pickled by value, but with a reference to *the* namespace as its globals: after a
  restore it sees later rebindings, and `global` counters still count.
- Classes and functions of cells ("definitions") are shared by everything that mentions them. They are pickled by value
  in one stream of their own; every other stream names them by a key. So a class is one class after a restore, however
  many streams have instances of it.
- Modules of the environment are pickled by name; the session's own modules are definitions, too.
- An object that a module of the environment owns is saved as a reference to it.
- Large buffers go out of band (pickle protocol 5), so that they are neither copied nor pickled.
"""

import copyreg
import enum
import io
import pickle
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint import stored_names
from skep_workers.session.checkpoint.reducers.definitions import (
    DefinitionKeys,
    definition,
    is_compared_plainly,
    is_definition,
    module_of,
)
from skep_workers.session.checkpoint.reducers.language.classes import reduce_member
from skep_workers.session.checkpoint.reducers.language.code import reduce_code
from skep_workers.session.checkpoint.reducers.language.descriptors import DESCRIPTORS, reduce_descriptor
from skep_workers.session.checkpoint.reducers.language.exceptions import reduce_exception
from skep_workers.session.checkpoint.reducers.language.instances import answers_itself, reduce_instance
from skep_workers.session.checkpoint.reducers.language.subclassed_values import BASES, reduce_subclassed
from skep_workers.session.checkpoint.reducers.language.type_parameters import is_evaluated_late, reduce_type_parameter
from skep_workers.session.checkpoint.reducers.libraries import array_kinds, arrays, structs, torch_tensors
from skep_workers.session.checkpoint.reducers.libraries import reduced_libraries as libraries
from skep_workers.session.checkpoint.reducers.modules import (
    ModuleContent,
    modules_by_dict,
    reduce_content,
    reduce_module,
)
from skep_workers.session.checkpoint.reducers.owned_objects import owned, reduce_owned
from skep_workers.session.checkpoint.reducers.stdlib import c_types
from skep_workers.session.checkpoint.reducers.stdlib.locks import LIVING, refuse_living
from skep_workers.session.checkpoint.reducers.stdlib.paths import PATHS, make_path_below_home
from skep_workers.session.checkpoint.reducers.stdlib.standard_library import (
    ENGINE,
    REDUCERS,
    REMADE_EMPTY,
    reduce_engine_object,
)
from skep_workers.session.checkpoint.saving.pickling.class_reductions import reduce_class_by_name, reduce_class_by_value
from skep_workers.session.checkpoint.saving.pickling.function_reductions import (
    reduce_function_by_name,
    reduce_function_by_value,
)
from skep_workers.session.checkpoint.saving.pickling.kinds import Kinds, Traits, is_common_metaclass, reduces_plainly
from skep_workers.session.checkpoint.saving.pickling.memory_reductions import (
    reduce_array,
    reduce_c_value,
    reduce_numbers,
    reduce_record,
)
from skep_workers.session.checkpoint.saving.pickling.notes import StreamNotes
from skep_workers.session.checkpoint.saving.pickling.recorded_reductions import recorded_reductions, replay
from skep_workers.session.checkpoint.saving.pickling.references import (
    Prefixed,
    Reference,
    Swap,
    reduce_prefixed,
    reduce_reference,
    reduce_swap,
)
from skep_workers.session.checkpoint.saving.pickling.shared_memory import NOTHING, SeenMemory, Shared
from skep_workers.session.checkpoint.saving.pickling.subclassed_kinds import (
    SUBCLASSED_KINDS,
    has_no_pickle_hook,
    reduce_as_its_kind,
)

stored_names.register()

PROTOCOL: Final = 5
_STREAM_PARTS: Final = frozenset({ModuleContent, Prefixed, Reference, Swap})


class Untrusted(Exception):
    """An object whose pickling runs code that isn't known to be short; only a forked child may do that."""


class SnapshotPickler(pickle.Pickler):
    """Pickles parts of one namespace.

    keys: provides the keys of definitions; None in the stream that holds the definitions themselves.
    is_trusting: raise Untrusted for objects of types that are not known to pickle fast and without user code.
    shared: memory that several objects of this stream see.
    kinds: traits of classes, for all picklers of one snapshot.
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
        self.notes = StreamNotes()
        self._unfilled: set[int] = set()  # ids of models that are not pickled to the end yet
        self._reducing_themselves: set[type] = set()  # classes of cells that define how they are pickled
        self._plain: set[type] = set()  # types that pickle itself saves correctly
        self._by_dict: dict[int, ModuleType] | None = None

    def reducer_override(self, obj: Any) -> Any:
        """Decide about functions, classes and instances; pickle saves everything else by itself."""
        kind = type(obj)
        if recorded_reductions and (recorded := recorded_reductions.get(id(obj))) is not None:
            return replay(recorded[1])
        if type(kind) is not type and not is_compared_plainly(kind):
            return self._incomparable(obj, kind)
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
            self.notes.files.add(obj.co_filename)
            self.notes.constants.update(map(id, obj.co_consts))
            return reduce_code(obj)
        if arrays.is_array(kind):
            return reduce_array(obj, self.memory)
        if arrays.is_record(kind):
            return reduce_record(obj, self.memory)
        place = owned.place(obj)
        if place is not None:
            self.notes.referred.add(id(obj))
            return reduce_owned(place)
        reduce = REDUCERS.get(kind)
        if reduce is not None:
            reduced = reduce(obj)
            is_below_home = kind in PATHS and reduced[0] is make_path_below_home  # in a fork it is another path
            if is_below_home or kind in REMADE_EMPTY:
                self.notes.is_remade = True
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
        self._note_traits(kind, traits)
        reduce = libraries.reducer_of(kind)
        if reduce is not None:
            return reduce(obj)
        if torch_tensors.is_tensor(kind) or array_kinds.is_array_kind(kind) or array_kinds.is_ufunc(kind):
            return reduce_numbers(obj, self.memory, self.notes, is_own=is_own)
        if issubclass(kind, BaseException):
            return reduce_exception(obj)
        if issubclass(kind, SUBCLASSED_KINDS) and has_no_pickle_hook(kind):
            reduced = reduce_as_its_kind(obj)
            if reduced is not NotImplemented:
                return reduced
        if issubclass(kind, BASES) and (reduced := reduce_subclassed(obj, kind)) is not NotImplemented:
            return reduced
        if issubclass(kind, DESCRIPTORS):
            return reduce_descriptor(obj)
        if is_own and structs.is_struct(kind):
            return structs.reduce_instance(obj)
        if c_types.is_c_function(kind):
            return c_types.reduce_c_function(obj)
        if c_types.is_c_value(kind):
            return reduce_c_value(obj, self.memory)
        if is_own and not reduces_plainly(kind):
            if not is_living:
                self._reducing_themselves.add(kind)
            return self._own_reduction(obj, kind)
        if answers_itself(kind) and reduces_plainly(kind):
            return reduce_instance(obj, PROTOCOL)
        if not is_living:  # refuse_living looks at each instance
            self._plain.add(kind)
        return NotImplemented

    def _incomparable(self, obj: Any, kind: type) -> Any:
        """Reduce an instance of a class whose metaclass compares or hashes it by code of its own, or can't.

        No set or dict of ours, and none of pickle's, is asked for such a class.
        """
        if issubclass(kind, type):
            return self._definition(obj, kind)
        self._note_traits(kind, self._kinds.traits(kind))
        return reduce_instance(obj, PROTOCOL) if reduces_plainly(kind) else self._own_reduction(obj, kind)

    def _note_traits(self, kind: type, traits: Traits) -> None:
        """Note what loading an instance may do. Raises Untrusted."""
        if self._is_trusting and not traits.is_trusted:
            raise Untrusted(traits.name)
        notes = self.notes
        if traits.is_remade:
            notes.is_remade = True
        if traits.is_own and traits.loads_by_code:
            notes.restores_by_code = True
        if traits.hashes_by_state:
            notes.hashes_by_state = True
        if traits.is_finalized:
            notes.finalized.add(kind)
        if not traits.is_own and not traits.is_trusted:
            notes.unknown.add(traits.name)

    def _stream_part(self, obj: Any, kind: type) -> Any:
        """Reduce one of our own objects, which structure a stream."""
        if kind is ModuleContent:
            return reduce_content(obj)
        if kind is Reference:
            return reduce_reference(obj)
        return reduce_swap(obj, self) if kind is Swap else reduce_prefixed(obj)

    def _definition(self, obj: Any, kind: type) -> Any:
        if not is_definition(obj):
            is_function = kind is FunctionType
            return reduce_function_by_name(obj, self._modules) if is_function else reduce_class_by_name(obj)
        if self._keys is not None:
            key = self._keys.key(obj)
            self.notes.named.add(key)
            return definition, (key,)
        if kind is FunctionType:
            return reduce_function_by_value(obj)
        if issubclass(kind, type):
            # Its metaclass takes part in making it; and its layout may be one that can't be made.
            if self._is_trusting and not self._kinds.is_tried(obj):
                raise Untrusted(kind.__qualname__)
            self.notes.restores_by_code = self.notes.restores_by_code or not is_common_metaclass(kind)
            self.notes.classes.append(obj)
            return reduce_class_by_value(obj, self._unfilled)
        if issubclass(kind, ModuleType):
            self.notes.modules.append(obj)
            return reduce_module(obj)
        if self._is_trusting and is_evaluated_late(obj):
            raise Untrusted(kind.__qualname__)
        return reduce_type_parameter(obj)

    def _own_reduction(self, obj: Any, kind: type) -> Any:
        """Return the reduction that an object's own class defines.

        A global name is not accepted as one: in a restore nothing is bound to it yet.
        """
        reduced = obj.__reduce_ex__(PROTOCOL)
        self.notes.restores_by_code = True
        if isinstance(reduced, str):
            return copyreg.__newobj__, (kind,), object.__getstate__(obj)  # type: ignore[attr-defined]
        return reduced

    def _modules(self) -> dict[int, ModuleType]:
        if self._by_dict is None:
            self._by_dict = modules_by_dict()
        return self._by_dict
