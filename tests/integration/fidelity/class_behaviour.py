"""Classes that cells define: what they inherit, answer to, and how they say they are pickled."""

from .cases import read

CASES = read(
    "classes",
    r"""
== subclasses of built-in types, with state
class Stack(list):
    def __init__(self, *args): super().__init__(args); self.note = "n"
class Text(str):
    def shout(self): return self.upper() + "!"
class Number(int): pass
class Table(dict):
    def __missing__(self, key): return key * 2
class Words(set): pass
stack, text, number, table, words = Stack(1, 2), Text("a"), Number(5), Table(a=1), Words("ab"); number.note = "x"; table.me = table
--
stack.append(3)
assert type(stack) is Stack and stack == [1, 2, 3] and stack.note == "n" and text.shout() == "A!" and number + 1 == 6 and number.note == "x" and table["zz"] == "zzzz" and table.me is table and words == {"a", "b"} and type(words) is Words
== subclasses of tuple, float, bytes and datetime
import datetime as dt
class Pair(tuple):
    def __new__(cls, a, b): return super().__new__(cls, (a, b))
    def __getnewargs__(self): return tuple(self)
class Metres(float): pass
class Day(dt.date):
    def next(self): return self + dt.timedelta(1)
class Raw(bytes): pass
pair, metres, day, raw = Pair(1, [2]), Metres(1.5), Day(2026, 1, 31), Raw(b"r"); metres.unit = "m"
--
assert type(pair) is Pair and pair == (1, [2]) and type(metres) is Metres and metres.unit == "m" and day.next() == dt.date(2026, 2, 1) and type(day) is Day and type(raw) is Raw
== pickling hooks of a class
class State:
    def __init__(self): self.kept, self.cache = [1], object()
    def __getstate__(self): return {"kept": self.kept}
    def __setstate__(self, state): self.__dict__.update(state); self.cache = "made again"
class Reduced:
    def __init__(self, v): self.v = v
    def __reduce__(self): return Reduced, (self.v,)
class New:
    def __new__(cls, *, v): self = super().__new__(cls); self.v = v; return self
    def __getnewargs_ex__(self): return (), {"v": self.v}
state, reduced, new = State(), Reduced([1]), New(v=3)
--
assert state.kept == [1] and state.cache == "made again" and reduced.v == [1] and new.v == 3
== a restoring hook that uses the names of the session
import threading as th, functools
limits = {"a": 1}
def fresh(): return th.Lock()
class Guarded:
    shared = []
    def __init__(self): self.lock, self.v = fresh(), 1
    def __getstate__(self): return {"v": self.v}
    def __setstate__(self, state): self.__dict__.update(state); self.lock = fresh(); self.limits = dict(limits); Other.seen.append(1)
class Other: seen = []
guarded = Guarded(); kept = [guarded]
--
assert guarded.lock.acquire(False) and guarded.v == 1 and guarded.limits == limits and kept[0] is guarded and Other.seen == [1]
== a singleton that reduces to its name
class Missing:
    def __reduce__(self): return "MISSING"
MISSING = Missing(); kept = [MISSING]
--
assert kept[0] is MISSING and type(MISSING) is Missing
== copyreg and copy
import copyreg, copy
class Odd:
    def __init__(self, v): self.v, self.bad = v, (i for i in ())
copyreg.pickle(Odd, lambda odd: (Odd, (odd.v,)))
odd = Odd(4)
--
assert odd.v == 4 and type(odd) is Odd
== operators, context managers, iteration, calls
class Vec:
    def __init__(self, *v): self.v = v
    def __add__(self, o): return Vec(*(a + b for a, b in zip(self.v, o.v)))
    def __eq__(self, o): return self.v == o.v
    def __hash__(self): return hash(self.v)
    def __iter__(self): return iter(self.v)
    def __enter__(self): return self
    def __exit__(self, *a): return True
    def __call__(self): return len(self.v)
    def __class_getitem__(cls, item): return item
v = Vec(1, 2); seen = {v: "v"}
--
assert v + Vec(1, 1) == Vec(2, 3) and seen[Vec(1, 2)] == "v" and list(v) == [1, 2] and v() == 2 and Vec[5] == 5
with v: 1 / 0
== hashes that depend on state
class Key:
    def __init__(self, name): self.name = name
    def __hash__(self): return hash(self.name)
    def __eq__(self, other): return self.name == other.name
key = Key("k"); table = {key: [1]}; kept = {key}
--
assert table[Key("k")] == [1] and Key("k") in kept and next(iter(kept)) is key
== __getattr__ that answers everything
class Any:
    def __init__(self): self.d = {"a": 1}
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return self.d[name]
one = Any()
--
assert one.a == 1 and one.d == {"a": 1}
== exceptions of a cell, in a tree
class Base(Exception): pass
class Deep(Base, ValueError):
    def __init__(self, a, b): super().__init__(f"{a}-{b}"); self.a, self.b = a, b
    def __reduce__(self): return Deep, (self.a, self.b)
one = Deep(1, 2)
--
assert isinstance(one, Base) and isinstance(one, ValueError) and one.b == 2 and str(one) == "1-2"
== a class with a doc, a module and annotations
class Doc:
    "What it is."
    x: int
    y: "list[Doc]" = []
Doc.__module__ = "elsewhere"; one = Doc()
--
assert Doc.__doc__ == "What it is." and Doc.__annotations__ == {"x": int, "y": "list[Doc]"} and Doc.__module__ == "elsewhere" and type(one) is Doc
== functions shared between a class and the session
def area(self): return self.side ** 2
class Square:
    side = 3
    area = area
    also = [area]
one = Square()
--
assert one.area() == 9 and Square.area is area is Square.also[0]
== a class that holds a lock of nobody and weak references
import weakref
class Tracked:
    alive = weakref.WeakSet()
    def __init__(self): Tracked.alive.add(self)
one = Tracked()
--
assert list(Tracked.alive) == [one]
two = Tracked()
assert len(Tracked.alive) == 2
== a class whose bases changed
class A:
    def f(self): return "a"
class B:
    def f(self): return "b"
class C(A): pass
C.__bases__ = (B,); one = C()
--
assert one.f() == "b" and C.__mro__ == (C, B, object)
== an object whose class changed
class A:
    def f(self): return "a"
class B:
    def f(self): return "b"
one = A(); one.x = 1; one.__class__ = B
--
assert type(one) is B and one.f() == "b" and one.x == 1
""",
)
