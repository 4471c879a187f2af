"""Reads a pickle stream and goes on where an object can't be made.

`pickle.loads` gives everything or nothing. This reader makes each object that can be made: one whose class is missing,
or whose code raises, hangs or recurses, is lost, and so is what reaches it (see `losses`); its neighbours are not.

It also restores what `pickle.loads` can't: a set or a dict with a key that hashes by a state which the key hasn't got
yet, because both are parts of one cycle. Such an item is added when the whole stream has been read.

What doesn't work: a subclass of `pickle.Unpickler`. It may replace what a global name leads to, but not contain a call
of it, and a stand-in for a function would be left wherever the function itself is a value.

The opcodes are those that CPython's pickler writes in protocol 5; the standard library's pickletools describes them.
"""

import pickle
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import is_
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import MissingDefinition, is_made_by_c
from skep_workers.session.checkpoint.reducers.modules import fill_module
from skep_workers.session.checkpoint.reducers.prefixes import take_last
from skep_workers.session.checkpoint.restoring import loading_steps as steps
from skep_workers.session.checkpoint.restoring.guard import CallTimeout, Guard
from skep_workers.session.checkpoint.restoring.losses import Losses, Lost
from skep_workers.session.checkpoint.stored_names import FIRST, STORED

_PLAIN_KEYS: Final = frozenset({str, bytes, int, float, complex, bool, type(None)})
_STOP: Final = pickle.STOP[0]
_REDUCE: Final = pickle.REDUCE[0]
_GET_SIZES: Final = {pickle.BINGET[0]: 1, pickle.LONG_BINGET[0]: 4}


class TolerantUnpickler:
    """Reads one stream; `losses` says what of it could not be made."""

    def __init__(self, data: bytes | bytearray, buffers: Iterable[Any], guard: Guard) -> None:
        self.losses: Final = Losses()
        self.bind: Callable[[str, Any], None] = lambda *_: None  # what is done with each variable once it is made
        self.partial: Final[dict[str, str]] = {}  # names that are lost in modules, as "module.name"
        self._data = data
        self._buffers = iter(buffers)
        self._guard = guard
        self._at = 0
        self._start = 0  # of the opcode that is carried out
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below the marks
        self.memo: list[Any] = []
        self._late: dict[int, list[tuple[int, Any, Any, Any]]] = {}  # container -> (offset, it, key, value)
        self._has_raised = False  # whether the last call was made, and raised
        self._reduced: tuple[Any, Any, tuple[Any, Any]] | None = None  # what the last opcode has made, by what, of what
        self._pairs: dict[int, tuple[Any, Any, tuple[Any, Any]]] = {}  # id -> the same of all that was made of two

    def load(self) -> Any:
        """Return what the stream holds, with stand-ins for what is lost. Raises UnpicklingError for a broken stream."""
        data = self._data
        try:
            while True:
                self._start = at = self._at
                self._at = at + 1
                code = data[at]
                if code == _STOP:
                    break
                OPCODES[code](self)
                if code != _REDUCE:
                    self._reduced = None
            loaded = self.stack.pop()
        except (IndexError, KeyError, StopIteration, struct.error) as exc:
            raise pickle.UnpicklingError(f"a stream is broken at byte {self._start}: {exc!r}") from exc
        self._add_late()
        return loaded

    # --- reading ------------------------------------------------------------------------------------------------------

    def take(self, size: int) -> bytes | bytearray:
        """Return the next bytes."""
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def number(self, size: int) -> int:
        """Return the next bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "little")

    def next_buffer(self) -> Any:
        """Return the next buffer that went out of band."""
        return next(self._buffers)

    def mark(self) -> None:
        """Begin a new stack."""
        self._below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return what is above the last mark, and go back to the stack below it."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def pop(self) -> None:
        """Drop the last item, or the last mark."""
        if not self.stack:
            self.pop_mark()
            return
        dropped = self.stack.pop()
        if self._reduced is not None and self._reduced[0] is dropped:
            _, function, (value, *state) = self._reduced
            if not self._was_made_before(function, (value, *state)):
                # What a reducer's sixth item does: it was called to set the state of an object, not to make one.
                self.losses.hold(value, state)
                if type(dropped) is Lost:
                    self.losses.lose(value, self.losses.reason(dropped) or "")

    def _was_made_before(self, function: Any, arguments: tuple[Any, ...]) -> bool:
        """Tell whether what comes next is the same made within these arguments, which lead back to it."""
        size = _GET_SIZES.get(self._data[self._at])
        if size is None:
            return False
        number = int.from_bytes(self._data[self._at + 1 : self._at + 1 + size], "little")
        _, earlier, those = self._pairs.get(id(self.memo[number]), (None, None, ()))
        return earlier is function and len(those) == len(arguments) and all(map(is_, those, arguments))

    def memoize(self) -> None:
        """Note the top of the stack, which is all but filled now."""
        stack = self.stack
        self.memo.append(stack[-1])
        # The stream's own dictionary has names and values in turn above its mark.
        if len(self._below) == 1 and not len(stack) % 2 and type(stack[-2]) is str and type(stack[-1]) is not Lost:
            self.bind(stack[-2], stack[-1])

    # --- making objects -----------------------------------------------------------------------------------------------

    def _call(self, callee: Any, parts: Sequence[Any], call: Callable[[], Any], *, is_quiet: bool) -> Any:
        """Return what a call makes of these parts, or a stand-in. is_quiet: it is known to run no code of users."""
        self._has_raised = False
        reason = self.losses.first_reason((callee, *parts))
        if reason is None:
            reason = "" if is_quiet else self._guard.enter(self._start, steps.name_of(callee))
        if not reason:
            try:
                return call()
            except CallTimeout as exc:
                reason = str(exc)
            except MissingDefinition as exc:
                reason = str(exc)
            except BaseException as exc:  # noqa: BLE001 - user code
                reason, self._has_raised = f"restoring it raises {describe(exc)}", True
            finally:
                if not is_quiet:
                    self._guard.leave()
        return self.losses.make(reason)

    def _push(self, made: Any, parts: Iterable[Any]) -> None:
        self.stack.append(made)
        self.losses.keep(made)
        if type(made) is not Lost:
            self.losses.hold(made, parts)

    def find(self, module: str, name: str) -> None:
        """Push what a module has under a name."""
        find = partial(steps.find_global, module, name)
        self.stack.append(self._call(find, (module, name), find, is_quiet=False))

    def find_stored(self, number: int) -> None:
        """Push one of our functions."""
        found: Any = STORED.get(number - FIRST)
        if found is None:
            found = self.losses.make(f"restoring it needs extension {number} of copyreg, which is registered by none")
        self.stack.append(found)

    def reduce(self) -> None:
        """Push what a function makes of its arguments."""
        arguments = self.stack.pop()
        function = self.stack.pop()
        if function is fill_module and self.losses.first_reason(arguments[:2]) is None:
            self._fill_module(*arguments)
            return
        if function is take_last:  # what comes before it may be lost by itself
            self.stack.append(arguments[-1])
            return
        is_quiet = steps.calls_quietly(function)
        made = self._call(function, (arguments,), partial(steps.apply, function, arguments), is_quiet=is_quiet)
        self._push(made, (function, arguments))
        if type(arguments) is tuple and len(arguments) == 2:
            self._reduced = self._pairs[id(made)] = made, function, arguments

    def _fill_module(self, module: Any, known_as: Any, names: dict[str, Any], home: str) -> None:
        """Fill a module with what of it can be had: what can't costs its own name in it, and not the module."""
        lost = {name: reason for name, value in names.items() if (reason := self.losses.reason(value)) is not None}
        kept = {name: value for name, value in names.items() if name not in lost}
        fill = partial(fill_module, module, known_as, kept, home)
        made = self._call(fill_module, (module,), fill, is_quiet=False)
        if type(made) is not Lost:
            self.partial.update({f"{module.__name__}.{name}": reason for name, reason in lost.items()})
        self.stack.append(made)

    def new_object(self, keywords: Any) -> None:
        """Push an instance that has no state yet."""
        arguments = self.stack.pop()
        kind = self.stack.pop()
        make = partial(steps.make_new, kind, arguments, keywords)
        made = self._call(kind, (arguments, keywords), make, is_quiet=steps.makes_quietly(kind))
        self._push(made, (kind, arguments, keywords))

    def build(self) -> None:
        """Set an object's state."""
        state = self.stack.pop()
        value = self.stack[-1]
        self.losses.hold(value, (state,))
        if self.losses.reason(value) is not None:
            return
        is_quiet = steps.builds_quietly(type(value), state)
        done = self._call(type(value), (), partial(steps.set_state, value, state), is_quiet=is_quiet)
        if type(done) is Lost:
            self.losses.lose(value, self.losses.reason(done) or "")

    def make_tuple(self, items: list[Any]) -> None:
        """Push a tuple; also of what is lost, since it may be the arguments of a call that sets a state."""
        self._push(tuple(items), items)

    def make_frozenset(self, items: list[Any]) -> None:
        """Push a frozenset."""
        self._push(self._call(frozenset, items, partial(frozenset, items), is_quiet=False), items)

    # --- filling containers -------------------------------------------------------------------------------------------

    def append(self, items: list[Any]) -> None:
        """Append to the container that is on top."""
        container = self.stack[-1]
        self.losses.hold(container, items)
        if type(container) is list:
            container += items
        elif self.losses.reason(container) is None:
            reason = self._change(container, partial(steps.extend, container, items))
            if reason:
                self.losses.lose(container, reason)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values, in turn, to the container that is on top."""
        container, keys, values = self.stack[-1], items[::2], items[1::2]
        self.losses.hold(container, items)
        if type(container) is dict and all(type(key) is str for key in keys):
            container.update(zip(keys, values, strict=True))
            return
        for key, value in zip(keys, values, strict=True):
            self._add(container, key, value)

    def add_items(self, items: list[Any]) -> None:
        """Add to the set that is on top."""
        container = self.stack[-1]
        self.losses.hold(container, items)
        for item in items:
            self._add(container, item, steps.NO_VALUE)

    def _add(self, container: Any, key: Any, value: Any) -> None:
        """Add an item to a dict or a set; or at the end, if its key can't be hashed yet, with all that follow it."""
        late = (self._start, container, key, value)
        if id(container) in self._late or self._is_unfinished(key):
            self._late.setdefault(id(container), []).append(late)
        elif self.losses.first_reason((container, key)) is None:
            reason = self._change(container, partial(steps.add_item, container, key, value), key)
            if reason and self._has_raised:
                self._late[id(container)] = [late]
            elif reason:
                self.losses.lose(container, reason)

    def _add_late(self) -> None:
        for late in self._late.values():
            for self._start, container, key, value in late:
                if self.losses.first_reason((container, key)) is None:
                    reason = self._change(container, partial(steps.add_item, container, key, value), key)
                    if reason:
                        self.losses.lose(container, reason)

    def _change(self, container: Any, change: Callable[[], None], key: Any = steps.NO_VALUE) -> str:
        """Change a container; returns why that failed, or ''."""
        kind = type(container)
        done = self._call(kind, (), change, is_quiet=type(key) in _PLAIN_KEYS and is_made_by_c(kind))
        return self.losses.reason(done) or "" if type(done) is Lost else ""

    def _is_unfinished(self, key: Any) -> bool:
        """Return whether a key's state is still to come: the key is on the stack, below the parts of its state."""
        kind = type(key)
        if kind in _PLAIN_KEYS:
            return False
        if kind is tuple or kind is frozenset:
            return any(self._is_unfinished(part) for part in key)
        if is_made_by_c(kind):
            return False
        return any(item is key for stack in (*self._below, self.stack) for item in stack)


_Step = Callable[[TolerantUnpickler], Any]
_FLOAT: Final = struct.Struct(">d")
_INT: Final = struct.Struct("<i")


def _pushing(read: _Step) -> _Step:
    return lambda reader: reader.stack.append(read(reader))


def _text(size: int) -> _Step:
    return _pushing(lambda reader: str(reader.take(reader.number(size)), "utf-8", "surrogatepass"))


def _bytes(size: int, make: Callable[[Any], Any] = bytes) -> _Step:
    return _pushing(lambda reader: make(reader.take(reader.number(size))))


def _long(size: int) -> _Step:
    return _pushing(lambda reader: int.from_bytes(reader.take(reader.number(size)), "little", signed=True))


def _tuple(size: int) -> _Step:
    def push(reader: TolerantUnpickler) -> None:
        items = reader.stack[-size:]
        del reader.stack[-size:]
        reader.make_tuple(items)

    return push


def _get(size: int) -> _Step:
    return _pushing(lambda reader: reader.memo[reader.number(size)])


def _stack_global(reader: TolerantUnpickler) -> None:
    name = reader.stack.pop()
    reader.find(reader.stack.pop(), name)


def _read_only(reader: TolerantUnpickler) -> None:
    view = memoryview(reader.stack[-1])
    if not view.readonly:
        reader.stack[-1] = view.toreadonly()


_STEPS: Final[dict[bytes, _Step]] = {
    pickle.PROTO: lambda reader: reader.take(1),
    pickle.FRAME: lambda reader: reader.take(8),
    pickle.NONE: _pushing(lambda _: None),
    pickle.NEWTRUE: _pushing(lambda _: True),
    pickle.NEWFALSE: _pushing(lambda _: False),
    pickle.BININT: _pushing(lambda reader: _INT.unpack(reader.take(4))[0]),
    pickle.BININT1: _pushing(lambda reader: reader.number(1)),
    pickle.BININT2: _pushing(lambda reader: reader.number(2)),
    pickle.LONG1: _long(1),
    pickle.LONG4: _long(4),
    pickle.BINFLOAT: _pushing(lambda reader: _FLOAT.unpack(reader.take(8))[0]),
    pickle.SHORT_BINUNICODE: _text(1),
    pickle.BINUNICODE: _text(4),
    pickle.BINUNICODE8: _text(8),
    pickle.SHORT_BINBYTES: _bytes(1),
    pickle.BINBYTES: _bytes(4),
    pickle.BINBYTES8: _bytes(8),
    pickle.BYTEARRAY8: _bytes(8, bytearray),
    pickle.NEXT_BUFFER: _pushing(lambda reader: reader.next_buffer()),
    pickle.READONLY_BUFFER: _read_only,
    pickle.EMPTY_LIST: _pushing(lambda _: []),
    pickle.EMPTY_TUPLE: _pushing(lambda _: ()),
    pickle.EMPTY_DICT: _pushing(lambda _: {}),
    pickle.EMPTY_SET: _pushing(lambda _: set()),
    pickle.MARK: TolerantUnpickler.mark,
    pickle.POP: TolerantUnpickler.pop,
    pickle.POP_MARK: TolerantUnpickler.pop_mark,
    pickle.DUP: lambda reader: reader.stack.append(reader.stack[-1]),
    pickle.MEMOIZE: TolerantUnpickler.memoize,
    pickle.BINGET: _get(1),
    pickle.LONG_BINGET: _get(4),
    pickle.APPEND: lambda reader: reader.append([reader.stack.pop()]),
    pickle.APPENDS: lambda reader: reader.append(reader.pop_mark()),
    pickle.SETITEM: lambda reader: reader.set_items([reader.stack.pop(-2), reader.stack.pop()]),
    pickle.SETITEMS: lambda reader: reader.set_items(reader.pop_mark()),
    pickle.ADDITEMS: lambda reader: reader.add_items(reader.pop_mark()),
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.TUPLE: lambda reader: reader.make_tuple(reader.pop_mark()),
    pickle.FROZENSET: lambda reader: reader.make_frozenset(reader.pop_mark()),
    pickle.STACK_GLOBAL: _stack_global,
    pickle.EXT1: lambda reader: reader.find_stored(reader.number(1)),
    pickle.EXT2: lambda reader: reader.find_stored(reader.number(2)),
    pickle.EXT4: lambda reader: reader.find_stored(reader.number(4)),
    pickle.REDUCE: TolerantUnpickler.reduce,
    pickle.NEWOBJ: lambda reader: reader.new_object({}),
    pickle.NEWOBJ_EX: lambda reader: reader.new_object(reader.stack.pop()),
    pickle.BUILD: TolerantUnpickler.build,
}
OPCODES: Final = {code[0]: step for code, step in _STEPS.items()}
