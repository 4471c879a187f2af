"""Several kinds at once: generics in tuples, decorators that hide classes, separate namespaces."""

from .cases import read

CASES = read(
    "mixed",
    r"""
== new_class with keywords
import types
class M(type):
    def __new__(m, n, b, ns, k=0): c = super().__new__(m, n, b, ns); c.k = k; return c
    def __init__(c, n, b, ns, k=0): super().__init__(n, b, ns)
A = types.new_class("A", (), {"metaclass": M, "k": 5}, lambda ns: ns.update(x=1)); a = A()
--
assert A.k == 5 and a.x == 1 and type(A) is M
== generic named tuple and protocol
import typing
T = typing.TypeVar("T")
class G(typing.NamedTuple, typing.Generic[T]):
    v: T
class P(typing.Protocol[T]):
    def get(self) -> T: ...
class I(P[int]):
    def get(self): return 1
g = G[int](3); i = I()
--
assert g.v == 3 and i.get() == 1 and isinstance(g, tuple) and G.__parameters__ == (T,)
== weakref slot dataclass
import dataclasses, weakref
@dataclasses.dataclass(slots=True, weakref_slot=True)
class D:
    a: int
d = D(1); w = weakref.ref(d)
--
assert w() is d and d == D(1)
== named tuple subclass with slots
from collections import namedtuple
class Q(namedtuple("Q", "a b")):
    __slots__ = ()
    def s(self): return self.a + self.b
q = Q(1, 2)
--
assert q.s() == 3 and type(q) is Q and Q.__mro__[1].__name__ == "Q"
== simple namespace of functions and modules
import types, math
ns = types.SimpleNamespace(m=math, f=lambda x: ns.m.floor(x))
--
assert ns.f(2.5) == 2
== mock
from unittest import mock
m = mock.sentinel.one
--
assert m is mock.sentinel.one
== class decorators and closures
def singleton(cls):
    made = {}
    def get(*a):
        if cls not in made: made[cls] = cls(*a)
        return made[cls]
    return get
@singleton
class A:
    def __init__(self): self.v = 1
one = A()
--
assert A() is one
== super in closures and class cell
class A:
    def f(self): return 1
class B(A):
    def f(self): return (lambda: super(B, self).f())() + (lambda s: __class__)(0).k
    k = 5
f = B.f; b = B()
--
assert f(b) == 6 and b.f() == 6
== abc with generic
import abc, typing
T = typing.TypeVar("T")
class R(abc.ABC, typing.Generic[T]):
    @abc.abstractmethod
    def g(self) -> T: ...
class S(R[int]):
    def g(self): return 2
s = S()
--
assert s.g() == 2 and isinstance(s, R)
== dynamic base from function
def mixin(n):
    class Mix:
        def val(self): return n
    return Mix
class A(mixin(3)): pass
a = A()
--
assert a.val() == 3 and A.__mro__[1].__name__ == "Mix"
== functools.partial subclass and method
import functools
class P(functools.partial): pass
p = P(int, base=2); p.extra = 1
--
assert p("10") == 2 and type(p) is P
== namedtuple in handmade exec
g = {}
exec("import collections\nPt = collections.namedtuple('Pt','x')\np = Pt(1)\nclass K:\n    def z(self): return Pt(2)", g)
k = g["K"]()
--
assert k.z() == g["Pt"](2) and type(g["p"]) is g["Pt"]
== queue
import queue
q = queue.SimpleQueue
--
assert q().empty()
== exceptions with slots and groups of own
class G(ExceptionGroup):
    def derive(self, e): return G(self.message, e)
g = G("m", [ValueError(1)])
try: raise g
except ExceptionGroup as x: y = x
--
assert y is g and type(g) is G and g.exceptions[0].args == (1,)
== code with nested constants
def f(): return frozenset({1, 2}), (1, (2, 3)), lambda: (4,)
t = (1, (2, 3))
--
assert f()[1] == t and f()[2]() == (4,)
== typing overloads and forward refs
import typing
R = typing.ForwardRef("X"); U = typing.Union["A", int]
class A: pass
--
assert R.__forward_arg__ == "X" and typing.get_args(U)[1] is int
""",
)
