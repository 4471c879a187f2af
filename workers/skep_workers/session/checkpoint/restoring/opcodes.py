"""The opcodes that CPython's pickler writes in protocol 5; the standard library's pickletools describes them."""

import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.checkpoint.restoring.object_builder import ObjectBuilder

Step = Callable[[ObjectBuilder], Any]
_FLOAT: Final = struct.Struct(">d")
_INT: Final = struct.Struct("<i")


def _pushing(read: Step) -> Step:
    return lambda reader: reader.stack.append(read(reader))


def _text(size: int) -> Step:
    return _pushing(lambda reader: str(reader.read(reader.number(size)), "utf-8", "surrogatepass"))


def _bytes(size: int, make: Callable[[Any], Any] = bytes) -> Step:
    return _pushing(lambda reader: make(reader.read(reader.number(size))))


def _long(size: int) -> Step:
    return _pushing(lambda reader: int.from_bytes(reader.read(reader.number(size)), "little", signed=True))


def _tuple(size: int) -> Step:
    def push(reader: ObjectBuilder) -> None:
        items = reader.stack[-size:]
        del reader.stack[-size:]
        reader.make_tuple(items)

    return push


def _get(size: int) -> Step:
    return _pushing(lambda reader: reader.memo[reader.number(size)])


def _stack_global(reader: ObjectBuilder) -> None:
    name = reader.stack.pop()
    reader.find(reader.stack.pop(), name)


def _read_only(reader: ObjectBuilder) -> None:
    view = memoryview(reader.stack[-1])
    if not view.readonly:
        reader.stack[-1] = view.toreadonly()


_STEPS: Final[dict[bytes, Step]] = {
    pickle.PROTO: lambda reader: reader.read(1),
    pickle.FRAME: lambda reader: reader.read(8),
    pickle.NONE: _pushing(lambda _: None),
    pickle.NEWTRUE: _pushing(lambda _: True),
    pickle.NEWFALSE: _pushing(lambda _: False),
    pickle.BININT: _pushing(lambda reader: _INT.unpack(reader.read(4))[0]),
    pickle.BININT1: _pushing(lambda reader: reader.number(1)),
    pickle.BININT2: _pushing(lambda reader: reader.number(2)),
    pickle.LONG1: _long(1),
    pickle.LONG4: _long(4),
    pickle.BINFLOAT: _pushing(lambda reader: _FLOAT.unpack(reader.read(8))[0]),
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
    pickle.MARK: ObjectBuilder.mark,
    pickle.POP: ObjectBuilder.pop,
    pickle.POP_MARK: ObjectBuilder.pop_mark,
    pickle.DUP: lambda reader: reader.stack.append(reader.stack[-1]),
    pickle.MEMOIZE: ObjectBuilder.memoize,
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
    pickle.REDUCE: ObjectBuilder.reduce,
    pickle.NEWOBJ: lambda reader: reader.new_object({}),
    pickle.NEWOBJ_EX: lambda reader: reader.new_object(reader.stack.pop()),
    pickle.BUILD: ObjectBuilder.build,
}
OPCODES: Final = {code[0]: step for code, step in _STEPS.items()}
