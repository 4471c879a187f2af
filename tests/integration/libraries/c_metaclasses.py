"""Classes whose metaclass is made by C code, enumerations of slotted data, and ctypes."""

from .case import read

NEIGHBOURS = "def helper(): return 41 + 1\nclass Plain: v = 5\nplain = Plain(); data = [1, 2]\n++"
THEY_HOLD = "assert helper() == 42 and plain.v == 5 and data == [1, 2]"

CASES = read(
    "metaclasses",
    r"""
== a structure of ctypes
NEIGHBOURS
import ctypes
class Pt(ctypes.Structure):
    _fields_ = [('x', ctypes.c_int), ('y', ctypes.c_double)]
    def norm(self): return self.x + self.y
PI = Pt
--
THEY_HOLD
assert Pt(1, 2.5).norm() == 3.5 and PI is Pt
== an instance and an array of ctypes
NEIGHBOURS
import ctypes
class Pt(ctypes.Structure):
    _fields_ = [('x', ctypes.c_int)]
p = Pt(7); arr = (ctypes.c_int * 3)(1, 2, 3)
--
THEY_HOLD
assert p.x == 7 and list(arr) == [1, 2, 3]
== a type of callbacks, and a union
NEIGHBOURS
import ctypes
CB = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
class U(ctypes.Union):
    _fields_ = [('i', ctypes.c_int), ('f', ctypes.c_float)]
--
THEY_HOLD
u = U(); u.i = 1; assert u.i == 1 and CB(lambda x: x + 1)(1) == 2
== an array of ctypes
NEIGHBOURS
import ctypes
arr = (ctypes.c_int * 3)(1, 2, 3)
--
THEY_HOLD and list(arr) == [1, 2, 3]
== a type of arrays of ctypes
NEIGHBOURS
import ctypes
Buf = ctypes.c_char * 16
--
THEY_HOLD
assert Buf(b"a")[0] == b"a"
== an array of ctypes over NumPy's memory [or loses: p]
NEIGHBOURS
import numpy as np, ctypes
a = np.arange(3, dtype='i4'); p = np.ctypeslib.as_ctypes(a)
--
THEY_HOLD and a.tolist() == [0, 1, 2]
a[1] = 9; assert p[1] == 9, "it is a copy now"
-- told
THEY_HOLD and a.tolist() == [0, 1, 2]
== structures that refer to each other
NEIGHBOURS
import ctypes
class Node(ctypes.Structure):
    pass
Node._fields_ = [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))]
class Big(ctypes.BigEndianStructure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("a", ctypes.c_uint16), ("bits", ctypes.c_uint8, 3)]
kind = ctypes.POINTER(Node); big = Big(258, 5)
--
THEY_HOLD
n = Node(1); m = Node(2, ctypes.pointer(n)); assert m.next.contents.value == 1 and kind is ctypes.POINTER(Node) and bytes(big)[:2] == b"\x01\x02" and big.bits == 5
== a library and its function [or loses: lib, labs]
NEIGHBOURS
import ctypes
lib = ctypes.CDLL(None); labs = lib.labs; labs.restype = ctypes.c_long; labs.argtypes = [ctypes.c_long]
--
THEY_HOLD and labs(-3) == 3
-- told
THEY_HOLD and ctypes.CDLL(None).labs(-4) == 4
== an enumeration of a slotted dataclass
NEIGHBOURS
import dataclasses, enum, sys
@dataclasses.dataclass(slots=True, frozen=sys.version_info >= (3, 12))  # 3.11 can't make an enumeration of frozen ones
class Body:
    mass: float
    name: str
class Planet(Body, enum.Enum):
    EARTH = 5.9, 'earth'
    MARS = 0.6, 'mars'
mars = Planet.MARS
--
THEY_HOLD
assert mars is Planet.MARS and mars.mass == 0.6
== an enumeration with slots of its own
NEIGHBOURS
import enum
class Mixin:
    __slots__ = ('extra',)
    def more(self): return self.extra
class E(Mixin, enum.Enum):
    A = 1
    B = 2
    def __init__(self, v): self.extra = v * 10
e = E.B
--
THEY_HOLD
assert e is E.B and e.more() == 20
== a metaclass of enumerations, members and nonmembers
NEIGHBOURS
import enum
class Meta(enum.EnumMeta):
    def __contains__(cls, v): return v in cls._value2member_map_
class E(enum.Enum, metaclass=Meta):
    A = 1
    @enum.member
    def go(): return 'went'
    note = enum.nonmember([1])
kept = [E.A, E.go]
--
assert 1 in E and kept[0] is E.A and E.go.value() == 'went' and E.note == [1] and [m.name for m in E] == ['A', 'go']
== boundaries of flags
NEIGHBOURS
import enum
class F(enum.IntFlag, boundary=enum.KEEP):
    A = 1
    B = 4
class S(enum.Flag, boundary=enum.CONFORM):
    A = 1
    B = 2
x = F(9); y = S.A | S.B; z = ~S.A
--
assert x == 9 and F(9) == x and y == S(3) and z is S.B and (F.A | F.B) == 5 and S(7) == S(3)
== a subclass of a cached property
NEIGHBOURS
import functools
class Lazy(functools.cached_property): pass
class A:
    @Lazy
    def v(self): return [1]
a = A(); a.v;
--
assert a.v == [1] and A().v == [1] and type(A.__dict__['v']) is Lazy
== classes of C as bases
NEIGHBOURS
import array, collections, datetime, io
class Arr(array.array):
    def total(self): return sum(self)
class Day(datetime.date):
    def shout(self): return self.isoformat() + "!"
class Deq(collections.deque): pass
class Err(OSError):
    def __init__(self, code): super().__init__(code, "text"); self.own = [code]
a = Arr("i", [1, 2]); d = Day(2026, 1, 2); q = Deq([1], maxlen=2); e = Err(5); a.note = "n"
--
THEY_HOLD
assert a.total() == 3 and a.note == "n" and d.shout() == "2026-01-02!" and q.maxlen == 2 and type(q) is Deq and e.own == [5] and e.errno == 5
== abstract classes, protocols and generic metaclasses
NEIGHBOURS
import abc, typing
class Meta(abc.ABCMeta):
    made = []
    def __new__(m, name, bases, ns, *, tag=None): cls = super().__new__(m, name, bases, ns); cls.tag = tag; Meta.made.append(name); return cls
class Base(metaclass=Meta, tag="base"):
    @abc.abstractmethod
    def run(self): ...
class Impl(Base, tag="impl"):
    def run(self): return helper()
@Base.register
class Virtual: pass
i = Impl()
--
THEY_HOLD
assert i.run() == 42 and Impl.tag == "impl" and isinstance(Virtual(), Base) and Meta.made == ["Base", "Impl"]
try: Base()
except TypeError: pass
else: raise AssertionError("an abstract class has an instance")
""".replace("NEIGHBOURS\n", NEIGHBOURS + "\n").replace("THEY_HOLD", THEY_HOLD),
)
