"""attrs and cattrs: slotted classes are made twice, and their methods are compiled from texts."""

from .case import read

NEIGHBOURS = "def helper(): return 42\nclass Plain: v = 5\nplain = Plain()"
THEY_HOLD = "assert helper() == 42 and plain.v == 5 and type(plain) is Plain"

CASES = read(
    "attrs",
    r"""
== a defined class
import attrs
@attrs.define
class P:
    x: int
    y: int = 2
p = P(1)
--
assert P(1) == p and repr(p) == "P(x=1, y=2)"
== a converter of cattrs
import attrs, cattrs
@attrs.define
class P:
    x: int
c = cattrs.Converter()
p = c.structure({"x": 3}, P)
--
assert p == P(3) and c.structure({"x": 4}, P).x == 4 and c.unstructure(p) == {"x": 3}
== a converter with hooks of cells
import attrs, cattrs, datetime
@attrs.define
class Stay:
    day: datetime.date
c = cattrs.Converter()
c.register_structure_hook(datetime.date, lambda v, _: datetime.date.fromisoformat(v)); c.register_unstructure_hook(datetime.date, lambda v: v.isoformat())
stay = c.structure({"day": "2026-01-02"}, Stay)
--
assert stay.day.day == 2 and c.structure({"day": "2026-03-04"}, Stay).day.month == 3 and c.unstructure(stay) == {"day": "2026-01-02"}
== a class beside an array, a function, a class and a list
import attrs, numpy as np
@attrs.define
class P:
    x: int
arr = np.arange(5)
def helper(): return 41
class Plain: pass
lst = [1, 2]
--
assert list(arr) == [0, 1, 2, 3, 4] and helper() == 41 and lst == [1, 2] and P(1).x == 1
== a field with a factory
NEIGHBOURS
import attrs
@attrs.define
class A:
    x: int
    y: list = attrs.field(factory=list)
a = A(1)
--
THEY_HOLD and a == A(1) and a.y == []
== a frozen class
NEIGHBOURS
import attrs
@attrs.frozen
class A:
    x: int
a = A(1)
--
THEY_HOLD and a == A(1) and hash(a) == hash(A(1))
try: a.x = 2
except attrs.exceptions.FrozenInstanceError: pass
else: raise AssertionError("a frozen instance was changed")
== a class with a dictionary
NEIGHBOURS
import attr
@attr.s(auto_attribs=True)
class A:
    x: int = 3
a = A()
--
THEY_HOLD and a == A(3)
== a method that calls its base's
NEIGHBOURS
import attrs
@attrs.define
class A:
    x: int
    def who(self): return "A"
@attrs.define
class B(A):
    def who(self): return "B" + super().who()
b = B(1)
--
THEY_HOLD and b.who() == "BA" and B.__mro__[1] is A
== a cached property in slots
NEIGHBOURS
import attrs, functools
@attrs.define
class A:
    x: int
    @functools.cached_property
    def c(self): return [self.x]
a = A(1); first = a.c
--
THEY_HOLD and a.c == [1] and first == [1]  # what it caches is no state to attrs
== a factory that takes the instance
NEIGHBOURS
import attr
@attr.s
class Old:
    v = attr.ib(default=attr.Factory(lambda self: [helper()], takes_self=True))
old = Old()
--
THEY_HOLD and old.v == [42] and Old().v == [42]
== a class that is made by a call
NEIGHBOURS
import attrs
Made = attrs.make_class("Made", ["p", "q"]); made = Made(1, 2)
--
THEY_HOLD and made == Made(1, 2)
== a hash that is kept
NEIGHBOURS
import attrs
@attrs.frozen(cache_hash=True)
class K:
    a: str
k = K("x"); t = {k: 1}; kept = hash(k)
--
THEY_HOLD and t[K("x")] == 1 and K("x") in t and hash(k) == hash(K("x"))
== validators, converters and hooks
import attrs
seen = []
@attrs.define(on_setattr=[attrs.setters.convert, attrs.setters.validate])
class Money:
    amount: int = attrs.field(converter=int, validator=attrs.validators.ge(0))
    _note: str = attrs.field(default="n", alias="note", repr=False, eq=False)
    def __attrs_post_init__(self): seen.append(self.amount)
m = Money("5"); more = attrs.evolve(m, amount=7)
--
assert m.amount == 5 and more.amount == 7 and seen == [5, 7] and m._note == "n"
m.amount = "9"
assert m.amount == 9 and Money(1, note="z")._note == "z" and seen[-1] == 1
try: Money(-1)
except ValueError: pass
else: raise AssertionError("not validated")
== fields are what they were
import attrs
def upper(cls, fields): return [f.evolve(metadata={"n": f.name.upper()}) for f in fields]
@attrs.define(field_transformer=upper)
class T:
    a: int
    b: "T" = None
fields = attrs.fields(T); nothing = attrs.NOTHING
--
assert attrs.fields(T).a.metadata["n"] == "A" and [f.name for f in fields] == ["a", "b"] and nothing is attrs.NOTHING
assert attrs.asdict(T(1, T(2))) == {"a": 1, "b": {"a": 2, "b": None}}
== instances in a cycle, with weak references
import attrs, weakref
@attrs.define(eq=False)
class Node:
    name: str
    peers: list = attrs.field(factory=list, repr=False)
a, b = Node("a"), Node("b"); a.peers.append(b); b.peers.append(a); w = weakref.ref(a)
--
assert a.peers[0] is b and b.peers[0] is a and w() is a and type(a) is Node
== a generic class with class variables
import attrs
from typing import ClassVar, Generic, TypeVar
T = TypeVar("T")
@attrs.define(kw_only=True)
class Box(Generic[T]):
    made: ClassVar[list] = []
    v: T
    def __attrs_post_init__(self): type(self).made.append(self.v)
box = Box[int](v=3); alias = Box[int]
--
assert Box.made == [3] and alias(v=4).v == 4 and Box.made == [3, 4] and box == Box(v=3)
== an exception class
import attrs
@attrs.define(auto_exc=True)
class Refused(Exception):
    code: int
    why: str = "no"
try: raise Refused(7)
except Refused as exc: error = exc
--
assert error.code == 7 and error.why == "no" and type(error) is Refused and str(Refused(8, "w")) != ""
== a library's structured hook for a union of cells' classes
import attrs, cattrs
from cattrs.strategies import include_subclasses
@attrs.define
class Shape:
    name: str
@attrs.define
class Circle(Shape):
    radius: float
c = cattrs.Converter(); include_subclasses(Shape, c)
shape = c.structure({"name": "c", "radius": 2.0}, Shape)
--
assert type(shape) is Circle and c.structure({"name": "s"}, Shape) == Shape("s")
""".replace("NEIGHBOURS", NEIGHBOURS).replace("THEY_HOLD", THEY_HOLD),
)
