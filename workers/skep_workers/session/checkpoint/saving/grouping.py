"""Pickling variables in groups: those that share something that can change go into one stream.

Each variable is pickled by itself first. The pickler's memo then tells every object it met; where two variables met the
same one, and it can change, they are pickled again, together. A variable that fails costs only itself.
"""

import io
import mmap
import pickle
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import FINALIZER
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.modules import ModuleContent
from skep_workers.session.checkpoint.reducers.origins import names_of
from skep_workers.session.checkpoint.saving.kinds import Kinds
from skep_workers.session.checkpoint.saving.memo import Memo
from skep_workers.session.checkpoint.saving.module_contents import failing_names
from skep_workers.session.checkpoint.saving.pickling import DefinitionKeys, SnapshotPickler, Untrusted
from skep_workers.session.checkpoint.saving.references import Prefixed, Reference, owned_in
from skep_workers.session.checkpoint.saving.shared_memory import NOTHING, Region, Shared, connections
from skep_workers.session.checkpoint.saving.sharing import Met, connected, is_known_by_identity, met_in
from skep_workers.session.clock import thread_time

IN_PLACE_BYTES: Final = 256 * 1024
IN_PLACE_SECONDS: Final = 0.005  # of processor time; a child is worth its fork for what takes longer
IN_PLACE_BUFFER_BYTES: Final = 1024 * 1024  # buffers are only hashed
SEVERAL: Final = "\0"  # told in the place of a variable's name while several are pickled together
TRIAL: Final = "\0trial"  # while it is tried whether they can be restored


class TooLarge(Exception):
    """More than may be pickled while the session waits; `in_buffers`, if that is what was too much."""

    def __init__(self, *, in_buffers: bool = False) -> None:
        super().__init__()
        self.in_buffers = in_buffers


@dataclass(slots=True)
class Stream:
    """A pickled group."""

    names: list[str]
    data: bytes
    buffers: list[pickle.PickleBuffer]
    met: Met = field(repr=False)
    named: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    shared: Shared = NOTHING
    regions: list[Region] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    restores_by_code: bool = False
    is_remade: bool = False
    modules: list[ModuleType] = field(default_factory=list)
    references: Sequence[Reference] = ()  # to what it reaches of modules of the environment
    is_of_definitions: bool = False
    is_tolerant: bool = False  # see restoring/loading.py
    unknown: frozenset[str] = frozenset()  # classes of libraries that it isn't known of what loading them does
    finalized: frozenset[type] = frozenset()  # classes that have a `__del__`
    classes: Sequence[type] = ()  # definitions that it holds by value

    @property
    def size_bytes(self) -> int:
        """How much it takes, before chunks that are stored already are left out."""
        return len(self.data) + sum(buffer.raw().nbytes for buffer in self.buffers)


def _without_lonely_finalizers(streams: list[Stream], values: dict[str, Any]) -> list[Stream]:
    """Leave out the finalizers of objects that nothing else reaches."""
    finalizers = [stream for stream in streams if stream.names[0].startswith(FINALIZER)]
    if not finalizers:
        return streams
    others = [stream for stream in streams if stream not in finalizers]
    calls = {stream.names[0]: values[stream.names[0]].peek() for stream in finalizers}
    targets = {name: id(call[0]) for name, call in calls.items() if call is not None}
    held = met_in([stream.met for stream in others], set(targets.values()))
    return others + [stream for stream in finalizers if targets.get(stream.names[0]) in held]


_CONTAINERS: Final = (dict, list, set, deque, weakref.WeakValueDictionary, weakref.WeakKeyDictionary, weakref.WeakSet)


class Progress:
    """Where a snapshot is, for whoever has to find out what killed it: memory that outlives a child."""

    SIZE: Final = 4096  # for a name, and as much for a reason

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 2 * self.SIZE)  # shared with children that are forked later

    def at(self, name: str) -> None:
        """Say which variable is being pickled."""
        self._write(0, name.encode("utf-8", "surrogatepass"))

    def fail(self, reason: str) -> None:
        """Say why no snapshot could be made, whatever the variables are."""
        self._write(self.SIZE, reason.encode("utf-8", "surrogatepass"))

    def read(self) -> str:
        """Give the variable that was being pickled; '' if none was."""
        return self._read(0)

    @property
    def failure(self) -> str:
        """Why no snapshot could be made; '' if nothing was said of that."""
        return self._read(self.SIZE)

    def _write(self, start: int, data: bytes) -> None:
        data = data[: self.SIZE - 2]
        self._page[start : start + len(data) + 2] = len(data).to_bytes(2, "big") + data

    def _read(self, start: int) -> str:
        size = int.from_bytes(self._page[start : start + 2], "big")
        return bytes(self._page[start + 2 : start + 2 + size]).decode("utf-8", "surrogatepass")


class GroupPickler:
    """Pickles variables of one namespace for one snapshot."""

    def __init__(
        self,
        keys: DefinitionKeys,
        *,
        in_place: bool,
        progress: Progress | None = None,
        kinds: Kinds | None = None,
        count_new: Callable[[memoryview], int] = memoryview.nbytes.__get__,
    ) -> None:
        """`in_place`: raise TooLarge, or Untrusted, for what only a forked child may pickle.

        count_new: tells how many bytes of a buffer have to be looked at.
        """
        self._count_new = count_new
        self.keys = keys
        self._in_place = in_place
        self._kinds = kinds or Kinds()
        self._progress = progress
        self._latest = ""
        self._tops: dict[int, Any] = {}
        self._kept: set[str] = set()
        self._picklers: list[SnapshotPickler] = []
        self.slow = ""  # a variable that took longer than may be spent on it while the session waits
        self.owners: dict[str, str] = {}  # key of a definition -> a variable that needs it, or SEVERAL
        self.lost: dict[str, str] = {}
        self._left_out: dict[int, frozenset[str]] = {}  # names in modules that can't be saved, by module

    def variables(
        self, values: dict[str, Any], atoms: dict[str, Any] | None = None, joint: Iterable[list[str]] = ()
    ) -> list[Stream]:
        """Give the streams of these variables; what fails is in `lost`. Raises TooLarge, Untrusted if in place.

        `atoms`: variables that can't change. Those whose value another variable holds are taken out and go with it.
        joint: variables that probably belong together; they are, without a look at each by itself.
        """
        atoms = {} if atoms is None else atoms
        self._tops = {id(value): value for value in [*values.values(), *atoms.values()] if is_known_by_identity(value)}
        alone: list[Stream] = []
        for names in joint:
            value = {name: values[name] if name in values else atoms[name] for name in names}
            stream = self._attempt(names, value, told=SEVERAL)
            if stream is not None:
                alone.append(stream)
                values = values | {name: atoms.pop(name) for name in names if name in atoms}
            else:  # whose fault it is, shows when each is tried by itself
                for name in names:
                    del self.lost[name]
        done = {name for stream in alone for name in stream.names}
        rest = {name: value for name, value in values.items() if name not in done}
        alone += [stream for name, value in rest.items() if (stream := self._attempt([name], {name: value}))]
        held = met_in([stream.met for stream in alone], {id(value) for value in atoms.values()} & self._tops.keys())
        for name in [name for name, value in atoms.items() if id(value) in held]:
            values = values | {name: atoms.pop(name)}
            alone += [stream for stream in [self._attempt([name], {name: values[name]})] if stream is not None]
        alone = _without_lonely_finalizers(alone, values)
        for stream in alone:
            owner = stream.names[0] if len(stream.names) == 1 else SEVERAL
            self.owners |= {key: owner for key in stream.named if self.owners.get(key, SEVERAL) == SEVERAL}
        parts = connected([stream.met for stream in alone], connections([stream.regions for stream in alone]))
        return [stream for part in parts for stream in self._joined([alone[index] for index in part], values)]

    def again(self, names: list[str], values: dict[str, Any]) -> Stream | None:
        """Return the stream of variables that were pickled before, in other company; None if that fails."""
        return self._attempt(names, {name: values[name] for name in names})

    def together(self, values: dict[str, Any]) -> Stream | None:
        """Give one stream of values that share nothing that matters; None if one of them fails."""
        stream = self._attempt(list(values), dict(values))
        if stream is None:
            for name in values:
                self.lost.pop(name, None)
        return stream

    def definitions(self, definitions: dict[str, Any], values: dict[str, Any]) -> Stream:
        """Give the stream of definitions, and of variables that share something with them; what fails is in `lost`."""
        keys = {key: value for key, value in definitions.items() if key not in self.lost}
        names = {name: value for name, value in values.items() if name not in self.lost}
        self._tell("")
        try:
            return self._definitions(keys, names, is_trusting=True)
        except Untrusted:
            if self._in_place:
                raise
        except TooLarge:
            raise
        except BaseException as exc:  # noqa: BLE001 - whose it is, is found out below
            self._raise_interrupt(exc)
            self._tell("")
        # Each by itself first: that tells which of them fails, or never ends.
        self._leave_out_of_modules(keys)
        keys = {key: value for key, value in keys.items() if self._is_kept(key, self._alone(key, value))}
        names = {name: value for name, value in names.items() if self._is_kept(name, {"names": {name: value}})}
        return self._definitions(keys, names, is_trusting=self._in_place)

    def _definitions(self, definitions: dict[str, Any], values: dict[str, Any], *, is_trusting: bool) -> Stream:
        while True:
            value = {"definitions": definitions, "names": values, "modules": self._contents(definitions)}
            stream = self._pickle(list(values), value, keys=None, is_trusting=is_trusting)
            new = {self.keys.key(module): module for module in stream.modules} | definitions
            if len(new) == len(definitions):
                return stream
            definitions = new  # modules that only definitions mention are filled, too

    def _contents(self, definitions: dict[str, Any]) -> list[ModuleContent]:
        modules = [value for value in definitions.values() if issubclass(type(value), ModuleType)]
        return [ModuleContent(module, self._left_out.get(id(module), frozenset())) for module in modules]

    def _alone(self, key: str, value: Any) -> dict[str, Any]:
        return {"definitions": {key: value}, "modules": self._contents({key: value})}

    def _leave_out_of_modules(self, definitions: dict[str, Any]) -> None:
        """Find what in modules can't be saved: it alone is left out. Raises ImportAgain, see module_contents."""

        def reason(module: ModuleType, name: str, value: Any) -> str:
            self._tell(self.owners.get(self.keys.key(module), names_of(module)["__name__"]))
            try:
                self._pickle([name], {name: value}, keys=None, is_trusting=self._in_place)
            except (TooLarge, Untrusted):
                raise
            except BaseException as exc:  # noqa: BLE001 - user code
                self._raise_interrupt(exc)
                return describe(exc)
            return ""

        for module in [value for value in definitions.values() if issubclass(type(value), ModuleType)]:
            failed = failing_names(module, partial(reason, module))
            self._left_out[id(module)] = frozenset(failed)
            self.lost.update({f"{module.__name__}.{name}": why for name, why in failed.items()})

    def leave_out(self, definitions: dict[str, Any], lost: Iterable[str]) -> None:
        """Leave these names of modules ("module.name") out from now on."""
        for module in [value for value in definitions.values() if issubclass(type(value), ModuleType)]:
            prefix = f"{module.__name__}."
            names = {name.removeprefix(prefix) for name in lost if name.startswith(prefix)}
            self._left_out[id(module)] = self._left_out.get(id(module), frozenset()) | names

    def _is_kept(self, name: str, value: Any) -> bool:
        """Pickle one that goes into the stream of definitions, by itself."""
        if name in self._kept:
            return True
        self._tell(self.owners.get(name, name))
        try:
            self._pickle([name], value, keys=None, is_trusting=self._in_place)
        except (TooLarge, Untrusted):
            raise
        except BaseException as exc:  # noqa: BLE001 - user code
            self._raise_interrupt(exc)
            self.lost[name] = describe(exc)
            return False
        self._kept.add(name)
        return True

    def _joined(self, part: list[Stream], values: dict[str, Any]) -> Iterable[Stream]:
        if len(part) == 1:
            return part
        names = [name for stream in part for name in stream.names]
        # Code of cells that makes instances may look for them in such a container, see restoring/loading.py.
        names.sort(key=lambda name: not issubclass(type(values[name]), _CONTAINERS))
        joined = self._attempt(names, {name: values[name] for name in names})
        if joined is not None:
            return [joined]
        for name in names:
            del self.lost[name]
        return part

    def _attempt(self, names: list[str], value: Any, told: str = "") -> Stream | None:
        self._tell(told or names[0])
        started = thread_time()
        try:
            return self._pickle(names, value, keys=self.keys, is_trusting=self._in_place)
        except (TooLarge, Untrusted):
            raise
        except BaseException as exc:  # noqa: BLE001 - user code runs in __reduce__, and may even exit
            self._raise_interrupt(exc)
            for name in names:
                self.lost[name] = describe(exc)
            return None
        finally:
            if thread_time() - started > IN_PLACE_SECONDS:
                self.slow = names[0]

    def _raise_interrupt(self, exc: BaseException) -> None:
        """In the session's own process an interrupt may be a user's; in a child only code of users raises one."""
        if self._in_place and isinstance(exc, KeyboardInterrupt):
            raise exc

    def _pickle(self, names: list[str], value: Any, *, keys: DefinitionKeys | None, is_trusting: bool) -> Stream:
        once = partial(self._pickle_once, names, value, keys, is_trusting)
        stream = once(NOTHING, ())
        references = stream.references
        if stream.shared is not NOTHING or references:
            stream = once(stream.shared, references)
        return stream

    def _pickle_once(
        self,
        names: list[str],
        value: Any,
        keys: DefinitionKeys | None,
        is_trusting: bool,
        shared: Shared,
        references: Sequence[Reference],
    ) -> Stream:
        file = _Bounded() if self._in_place else io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        seen = 0

        def take_buffer(buffer: pickle.PickleBuffer) -> None:
            nonlocal seen
            if self._in_place:
                seen += self._count_new(buffer.raw())
                if seen > IN_PLACE_BUFFER_BYTES:
                    raise TooLarge(in_buffers=True)
            buffers.append(buffer)

        pickler = SnapshotPickler(
            file,
            keys=keys,
            is_trusting=is_trusting,
            buffer_callback=take_buffer,
            shared=shared,
            kinds=self._kinds,
        )
        self._picklers.append(pickler)
        pickler.dump(Prefixed(references, value) if references else value)
        memo, data = Memo(pickler), file.getvalue()
        owned = references or [found for found in owned_in(memo, len(data)) if id(found.target) not in pickler.referred]
        own = {id(part): part for part in value.values() if id(part) in self._tops}
        return Stream(
            names,
            data,
            buffers,
            Met(
                memo,
                len(data),
                self._tops.keys(),
                pickler.constants,
                own | pickler.memory.owners,
                pickler.referred.union(id(reference.target) for reference in owned),
            ),
            pickler.named,
            pickler.files,
            pickler.memory.to_share(memo),
            pickler.memory.regions,
            pickler.remarks,
            pickler.restores_by_code,
            pickler.is_remade,
            pickler.modules,
            owned,
            is_of_definitions=keys is None,
            is_tolerant=pickler.restores_by_code or pickler.hashes_by_state,
            unknown=frozenset(pickler.unknown),
            finalized=frozenset(pickler.finalized),
            classes=pickler.classes,
        )

    def tell_trial(self) -> None:
        """Note that what was pickled is being tried from here on."""
        self._tell(TRIAL)

    def close(self) -> None:
        """Let go of every value at once: a pickler's memo holds all that it has met, perhaps in a cycle with it."""
        for pickler in self._picklers:
            pickler.clear_memo()
        self._picklers.clear()
        self._tops = {}

    def remarks(self, stream: Stream, values: dict[str, Any]) -> dict[str, str]:
        """Return what of this stream's variables a restore won't have, by variable."""
        if not stream.remarks or len(stream.names) == 1:
            return {name: remark for name in stream.names for remark in stream.remarks[:1]}
        alone = [(name, self._attempt([name], {name: values[name]})) for name in stream.names]
        return {name: each.remarks[0] for name, each in alone if each is not None and each.remarks}

    def progress_at(self) -> str:
        """Give the variable that was pickled last."""
        return self._latest

    def _tell(self, name: str) -> None:
        self._latest = name
        if self._progress is not None:
            self._progress.at(name)


class _Bounded(io.BytesIO):
    """A file that refuses to grow beyond what may be pickled while the session waits."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > IN_PLACE_BYTES:
            raise TooLarge
        return super().write(data)
