"""Classes that cells define: inheritance, special methods, and their own pickling."""

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
== methods that record how a container was filled
class Calls(list):
    def __init__(self, owner): self.owner, self.count = owner, 0
    def append(self, item): self.count += self.owner; super().append(item)
    def extend(self, items):
        for item in items: self.append(item)
class Logged(dict):
    def __init__(self): self.log = []
    def __setitem__(self, key, value): self.log.append(key); super().__setitem__(key, value)
class Added(set):
    def __init__(self): self.log = []
    def add(self, item): self.log.append(item); super().add(item)
calls, logged, added = Calls(1), Logged(), Added()
calls.append("a"); calls.extend("b"); logged["x"] = calls; added.add(3); calls.append(logged)
--
assert calls == ["a", "b", logged] and calls.count == 3 and logged["x"] is calls and logged.log == ["x"] and added == {3} and added.log == [3]
logged["y"] = 1; assert logged.log == ["x", "y"]
== containers with a signature and attributes of their own
import collections as c
class Groups(c.defaultdict):
    def __init__(self): super().__init__(list); self.name = "g"
class Tagged(c.Counter):
    def __init__(self, *args): super().__init__(*args); self.tag = "t"
class Limited(c.OrderedDict):
    def __init__(self, limit): super().__init__(); self.limit = limit
    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        if len(self) > self.limit: self.popitem(last=False)
class Recent(c.deque):
    def __init__(self, name): super().__init__(maxlen=2); self.name = name
class OrderedCounter(c.Counter, c.OrderedDict): pass
class Pairs(frozenset):
    def __new__(cls, a, b): return super().__new__(cls, (a, b))
groups, tagged, limited, recent, ordered, pairs = Groups(), Tagged("aab"), Limited(2), Recent("r"), OrderedCounter("ba"), Pairs(1, 2)
groups["a"].append(groups); limited.update(x=1, y=2, z=3); limited.move_to_end("y"); recent.extend("abc"); pairs.note = "n"
--
assert groups["a"][0] is groups and groups["new"] == [] and groups.name == "g" and tagged["a"] == 2 and tagged.tag == "t" and tagged["none"] == 0
assert list(limited) == ["z", "y"] and limited.limit == 2 and list(recent) == ["b", "c"] and recent.maxlen == 2 and recent.name == "r"
assert list(ordered) == ["b", "a"] and type(ordered) is OrderedCounter and pairs == {1, 2} and pairs.note == "n" and type(pairs) is Pairs
== values with a signature of their own
class Point(tuple):
    def __new__(cls, x, y): return super().__new__(cls, (x, y))
class Unit(float):
    def __new__(cls, value, unit): self = super().__new__(cls, value); self.unit = unit; return self
class Code(str):
    def __new__(cls, prefix, number): return super().__new__(cls, f"{prefix}{number}")
class Flagged(int):
    def __new__(cls, value, *, flag): self = super().__new__(cls, value); self.flag = flag; return self
point, unit, code, flagged = Point(1, [2]), Unit(1.5, "m"), Code("c", 7), Flagged(5, flag=[1]); table = {code: point}
--
assert type(point) is Point and point == (1, [2]) and unit == 1.5 and unit.unit == "m" and code == "c7" and flagged == 5 and flagged.flag == [1]
assert table[code] is point and type(next(iter(table))) is Code
== a dictionary whose attributes are its items
class Attributes(dict):
    def __init__(self, **items): super().__init__(items); self.__dict__ = self
options = Attributes(a=1, inner=Attributes(b=2))
--
options.c = 3; options.inner["d"] = 4
assert options.a == 1 and options["c"] == 3 and options.inner.b == 2 and options.inner.d == 4
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
