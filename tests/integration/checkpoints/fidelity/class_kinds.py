"""Classes that libraries make in special ways: metaclasses in C, slots, generated code, registries."""

from .cases import read

CASES = read(
    "class kinds",
    r"""
== metaclasses that compare and hash their classes by code of their own
class Expression(type):
    def __eq__(cls, other): return ("equal", cls, other)
    def __hash__(cls): raise ValueError("no hash")
class Unhashable(type):
    def __eq__(cls, other): raise ValueError("no comparison")
class Column(metaclass=Expression): size = 1
class Row(metaclass=Unhashable):
    def __init__(self): self.columns = []
class Wide(Column): size = 2
class Reduced(metaclass=Unhashable):
    def __reduce__(self): return Reduced, ()
row, wide, reduced, kept = Row(), Wide(), Reduced(), [1]; row.columns += (Column(), wide); wide.row = row; kinds = [Column, Row]
--
assert type(wide) is Wide and wide.size == 2 and wide.row is row and row.columns[1] is wide and type(row.columns[0]) is Column
assert kinds[0] is Column and kinds[1] is Row and type(reduced) is Reduced and kept == [1] and (Column == 3)[0] == "equal"
== structures of ctypes [needs: ctypes]
import ctypes
class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]
    def norm(self): return self.x + self.y
class Line(ctypes.Structure):
    _pack_ = 1
    _anonymous_ = ["start"]
    _fields_ = [("start", Point), ("end", Point), ("bits", ctypes.c_uint, 3), ("name", ctypes.c_char * 8)]
class Deep(Line):
    _fields_ = [("more", ctypes.c_short * 3)]
line = Line(Point(1, 2.5), Point(3, 4), 5, b"abc"); deep = Deep(); deep.more[1] = 7
--
assert line.x == 1 and line.end.norm() == 7 and line.bits == 5 and line.name == b"abc" and ctypes.sizeof(Line) == 44
assert deep.more[1] == 7 and Deep(x=2).x == 2 and isinstance(deep, Line) and type(line.end) is Point
== a structure that points at itself [needs: ctypes]
import ctypes
class Node(ctypes.Structure): pass
Link = ctypes.POINTER(Node)
Node._fields_ = [("value", ctypes.c_int), ("next", Link)]
--
first = Node(1); second = Node(2, ctypes.pointer(first))
assert second.next.contents.value == 1 and Link is ctypes.POINTER(Node) and not first.next
== unions, byte orders, arrays and pointers of ctypes [needs: ctypes]
import ctypes
class Word(ctypes.Union):
    _fields_ = [("number", ctypes.c_uint32), ("bytes", ctypes.c_ubyte * 4)]
class Big(ctypes.BigEndianStructure):
    _fields_ = [("a", ctypes.c_uint16), ("b", ctypes.c_uint16)]
word = Word(number=1); big = Big(1, 2); Grid = ctypes.c_int * 2 * 3; grid = Grid((1, 2), (3, 4)); Swapped = ctypes.c_int.__ctype_be__; text = ctypes.create_string_buffer(b"hello", 10)
class Fixed(ctypes.Array):
    _type_ = ctypes.c_byte; _length_ = 4
    def total(self): return sum(self)
fixed = Fixed(1, 2, 3)
--
assert list(word.bytes) == [1, 0, 0, 0] and bytes(big) == bytes([0, 1, 0, 2]) and grid[1][1] == 4 and type(grid) is Grid is ctypes.c_int * 2 * 3
assert bytes(Swapped(1)) == bytes([0, 0, 0, 1]) and text.value == b"hello" and len(text) == 10 and fixed.total() == 6 and Big(3, 4).b == 4
== functions for C to call [needs: ctypes]
import ctypes
Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
sign = 1
@Compare
def compare(a, b): return sign * (a[0] - b[0])
Plain = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object); plain = Plain(lambda value: [value])
--
numbers = (ctypes.c_int * 3)(3, 1, 2); sort = ctypes.CDLL(None).qsort; sort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, Compare]
sort(numbers, 3, 4, compare); assert list(numbers) == [1, 2, 3]
sign = -1; sort(numbers, 3, 4, compare); assert list(numbers) == [3, 2, 1] and plain(5) == [5]
== structs of msgspec
import msgspec
from typing import Optional
class Shape(msgspec.Struct, tag=True, kw_only=True, rename="camel"):
    line_width: int = 1
    parts: list = []
    made_by: Optional["Shape"] = None
class Circle(Shape, frozen=True, tag="circle"):
    radius: float
    extra: dict = msgspec.field(default_factory=lambda: {"k": offset}, name="more")
    def area(self): return round(3 * self.radius ** 2) + offset
class Other(msgspec.Struct, array_like=True, omit_defaults=True, weakref=True):
    a: int
    def __post_init__(self): self.a += 1
offset = 0; circle = Circle(2.0, line_width=3, made_by=Circle(1.0)); other = Other(1)
--
import weakref
assert circle.area() == 12 and circle == Circle(2.0, line_width=3, made_by=Circle(1.0)) and type(circle.made_by) is Circle and isinstance(circle, Shape)
offset = 5
encoded = msgspec.json.encode(circle); assert b'"lineWidth":3' in encoded and b'"more":{' in encoded and b'"type":"circle"' in encoded
back = msgspec.json.decode(b'{"type": "circle", "radius": 1, "lineWidth": 2}', type=Circle); assert back.line_width == 2 and back.extra == {"k": 5} and back.area() == 8 and back.parts == []
assert msgspec.json.encode(other) == b"[2]" and Other(3).a == 4 and weakref.ref(other)() is other
try: circle.radius = 1; raise SystemError
except AttributeError: pass
class Later(Shape, kw_only=True):
    more: int = 0
assert Later(more=1).parts == []
== generic structs of msgspec
import msgspec
from typing import Generic, TypeVar
T = TypeVar("T")
class Box(msgspec.Struct, Generic[T]):
    value: T
class Own:
    pass
Made = msgspec.defstruct("Made", [("x", int), ("y", str, "d")], namespace={"both": lambda self: (self.x, self.y)}); made = Made(1); kept = Box[int](3)
--
assert msgspec.json.decode(b'{"value": 4}', type=Box[int]).value == 4 and kept == Box(3) and made.both() == (1, "d") and Made(2, "e").both() == (2, "e")
try: msgspec.json.decode(b'{"value": "a"}', type=Box[int]); raise SystemError
except msgspec.ValidationError: pass
== attrs with slots [needs: attrs]
import attrs, functools
@attrs.define
class Base:
    x: int
    ys: list = attrs.field(factory=list)
    def who(self): return "base"
@attrs.define(order=True)
class Child(Base):
    z: int = attrs.field(default=3, converter=lambda v: int(v) + shift)
    def who(self): return "child of " + super().who()
    @functools.cached_property
    def lazy(self): return [self.x, shift]
shift = 0; one = Child(1, [2]); kept = one.lazy; also = one
--
assert one == Child(1, [2]) and also is one and one.who() == "child of base" and one.lazy == kept == [1, 0] and repr(one) == "Child(x=1, ys=[2], z=3)" and one < Child(2, [2])
shift = 10; assert Child(1, z="5").z == 15 and not hasattr(one, "__dict__")
assert attrs.asdict(one) == {"x": 1, "ys": [2], "z": 3} and attrs.evolve(one, x=5).x == 5
== attrs that are frozen, hashed and made by calls [needs: attrs]
import attrs, attr
@attrs.frozen(cache_hash=True)
class Key:
    name: str
@attr.s(auto_attribs=True, auto_exc=True)
class Failed(Exception):
    code: int
@attrs.define(slots=False)
class Open:
    a: int = 1
Made = attrs.make_class("Made", {"p": attrs.field(default=1), "q": attrs.field(default=attrs.Factory(lambda self: self.p + 1, takes_self=True))})
key = Key("a"); table = {key: 1}; failed = Failed(7); opened = Open(); opened.later = 2; made = Made()
--
assert table[Key("a")] == 1 and table[key] == 1 and failed.code == 7 and isinstance(failed, Failed) and opened.later == 2 and made == Made(1, 2) and Made(5).q == 6
try: key.name = "b"; raise SystemError
except attrs.exceptions.FrozenInstanceError: pass
== models of pydantic [needs: pydantic]
import pydantic
from typing import Annotated, Generic, Literal, Optional, TypeVar
T = TypeVar("T")
limit = 10
class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(validate_assignment=True)
    kind: Literal["part"] = "part"
    size: Annotated[int, pydantic.Field(gt=0)] = 1
    @pydantic.field_validator("size")
    @classmethod
    def checked(cls, v):
        if v > limit: raise ValueError("too large")
        return v
class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]; next: Optional["Page[T]"] = None
    _seen: int = pydantic.PrivateAttr(default=3)
page = Page[Part](items=[{"size": 2}]); page._seen = 4; Union = pydantic.TypeAdapter(list[Part]); parts = page.items
@pydantic.validate_call(validate_return=True)
def double(part: Part, times: int = 2) -> int: return part.size * times + limit
@pydantic.dataclasses.dataclass
class Data:
    a: int
    b: list[int] = pydantic.Field(default_factory=list)
data = Data("5")
Dynamic = pydantic.create_model("Dynamic", x=(int, 3)); dynamic = Dynamic()
--
assert type(page) is Page[Part] and page.items is parts and page._seen == 4 and type(parts[0]) is Part and Page[Part](items=[{"size": 3}]).items[0].size == 3
assert Union.validate_python([{"size": "4"}])[0].size == 4 and double({"size": 2}, times="3") == 16 and data == Data(5) and Data("6").b == [] and dynamic == Dynamic(x=3)
limit = 3
try: parts[0].size = 5; raise SystemError
except pydantic.ValidationError: pass
assert double(Part(size=1)) == 5
== instances that answer for what they don't have
class Wrapped:
    def __init__(self, inner): self.inner = inner
    def __getattr__(self, name): return getattr(self.inner, name)
class Record(dict):
    def __getattr__(self, name): return self[name]
class Slotted:
    __slots__ = ("parts",)
    def __init__(self): self.parts = {"a": 1}
    def __getattr__(self, name): return self.parts[name]
wrapped = Wrapped([1, 2]); record = Record(a=1); record.__dict__["kept"] = 2; slotted = Slotted(); inner = wrapped.inner
--
assert wrapped.count(1) == 1 and wrapped.inner is inner and record.a == 1 and record.kept == 2 and slotted.a == 1
== enumerations with slots and own ways
import enum
class Mixin:
    __slots__ = ("extra", "__hidden")
    def more(self): return self.extra, self.__hidden
    def hide(self, value): self.__hidden = value
class Level(Mixin, enum.Enum):
    LOW = 1
    HIGH = 2
    def __init__(self, value): self.extra = value * 10; self.hide(-value)
class Meta(enum.EnumMeta):
    def __contains__(cls, value): return value in cls._value2member_map_
class Names(str, enum.Enum, metaclass=Meta):
    A = "a"
    note = enum.nonmember([1])
    @classmethod
    def _missing_(cls, value): return cls.A if value == "?" else None
class Bits(enum.IntFlag, boundary=enum.KEEP):
    ONE = 1
    FOUR = 4
level = Level.HIGH; bits = Bits(9); names = {Names.A: Level.LOW}
--
assert level is Level.HIGH and level.more() == (20, -2) and "a" in Names and Names("?") is Names.A and Names.note == [1] and names[Names.A] is Level.LOW and bits == 9 and Bits(9) == bits and (Bits.ONE | Bits.FOUR) == 5
== functions with globals of their own
import builtins
plain = {"base": 5}; exec("def f(x): return x + base + len([1])", plain); f = plain["f"]
with_module = {"__builtins__": builtins, "n": 1}; exec("def g(): return sum([n, 2])\ndef h(): return g", with_module); g, h = with_module["g"], with_module["h"]
copied = dict(globals()); import types; k = types.FunctionType((lambda: helper()).__code__, copied); copied["helper"] = lambda: 7
limited = {"__builtins__": {"len": len}}; exec("def m(v): return len(v)", limited); m = limited["m"]
--
plain["base"] = 6; with_module["n"] = 5
assert f(1) == 8 and g() == 7 and h() is g and k() == 7 and m([1, 2]) == 2
copied["helper"] = lambda: 8
assert k() == 8
try: exec("sum([1])", limited); raise SystemError
except NameError: pass
== a declared table, whose class has its columns elsewhere [needs: sqlalchemy] [loses: Person]
import sqlalchemy as sa
from sqlalchemy.orm import declarative_base
class Person(declarative_base()):
    __tablename__ = "persons"
    id = sa.Column(sa.Integer, primary_key=True)
metadata = sa.MetaData(); table = sa.Table("t", metadata, sa.Column("a", sa.Integer)); query = sa.select(table).where(table.c.a > 1); low = 1
def helper(): return low
--
assert helper() == 1 and metadata.tables["t"] is table and "t.a >" in str(query)
== schemas of marshmallow [needs: marshmallow]
from marshmallow import Schema, fields, post_load, validates
class Item(Schema):
    a = fields.Int(required=True)
    b = fields.List(fields.Str(), load_default=list)
    @post_load
    def made(self, data, **_): return {**data, "helped": helper()}
def helper(): return 1
class Order(Schema):
    items = fields.List(fields.Nested(Item))
schema = Item(); order = Order()
--
assert schema.load({"a": "3"}) == {"a": 3, "b": [], "helped": 1} and order.load({"items": [{"a": 1}]}) == {"items": [{"a": 1, "b": [], "helped": 1}]}
def helper(): return 2
assert Item().load({"a": 1})["helped"] == 2
== strategies and tests of hypothesis [needs: hypothesis]
from hypothesis import given, settings, strategies as st
numbers = st.lists(st.integers(0, 5).map(lambda v: v * scale), max_size=3); scale = 2
@st.composite
def pairs(draw): return draw(numbers), draw(st.booleans())
seen = []
@settings(max_examples=5, database=None, deadline=None)
@given(pairs())
def check(pair): seen.append(pair)
--
check(); assert len(seen) >= 5 and all(v % 2 == 0 for values, _ in seen for v in values)
== estimators of cells [needs: sklearn]
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.linear_model import LinearRegression
import numpy as np
class Twice(TransformerMixin, BaseEstimator):
    def __init__(self, factor=2): self.factor = factor
    def fit(self, X, y=None): self.fitted_ = True; return self
    def transform(self, X): return X * self.factor * extra
extra = 1; pipeline = make_pipeline(Twice(factor=3), LinearRegression()).fit(np.arange(6.0).reshape(-1, 1), np.arange(6.0)); step = pipeline[0]
--
assert abs(pipeline.predict(np.array([[3.0]]))[0] - 3) < 1e-9 and pipeline[0] is step and step.fitted_ and clone(step).factor == 3 and pipeline.get_params()["twice__factor"] == 3
extra = 2; assert step.transform(np.array([1.0]))[0] == 6
== typing's own kinds
import typing
from typing import *
class Sized2(Protocol):
    def size(self) -> int: ...
@runtime_checkable
class Closes(Protocol):
    def close(self): ...
class Options(TypedDict, total=False):
    a: int
    b: Required[str]
class Pair(NamedTuple):
    a: int
    b: str = "x"
    def both(self): return self.a, self.b
Number = NewType("Number", int); Alias = Union[int, str]; Call = Callable[[int], str]; Noted = Annotated[int, "note"]; P = ParamSpec("P"); Ts = TypeVarTuple("Ts")
class Many(Generic[Unpack[Ts]]): pass
pair = Pair(1); options: Options = {"b": "y"}; many = Many[int, str]
@overload
def over(x: int) -> int: ...
@overload
def over(x: str) -> str: ...
def over(x): return x
--
class Has:
    def close(self): pass
assert pair == Pair(1, "x") and pair.both() == (1, "x") and pair._replace(a=2).a == 2 and Options.__required_keys__ == {"b"} and isinstance(Has(), Closes) and not isinstance(1, Closes)
assert Number(3) == 3 and Number.__supertype__ is int and get_args(Alias) == (int, str) and get_args(Noted) == (int, "note") and get_args(many) == (int, str) and over(1) == 1
== descriptors that subclass cached_property, partial methods and single dispatch
import functools
class Lazy(functools.cached_property):
    def __init__(self, fn, note=None): super().__init__(fn); self.note = note
class A:
    @Lazy
    def v(self): return [1]
    def add(self, x, y): return x + y + extra
    add5 = functools.partialmethod(add, 5)
    @functools.singledispatchmethod
    def show(self, v): return "any"
    @show.register
    def _(self, v: int): return "int"
extra = 0; a = A(); kept = a.v
@functools.singledispatch
def size(v): return 0
@size.register(list)
def _(v): return len(v) + extra
--
extra = 1
assert a.v is kept and A().v == [1] and type(A.__dict__["v"]) is Lazy and a.add5(1) == 7 and a.show(1) == "int" and a.show("") == "any" and size([1]) == 2 and size(1) == 0
""",
)
