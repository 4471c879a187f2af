"""Identity: aliases, cycles and graphs across variables, cells and kinds."""

from .cases import read

CASES = read(
    "aliasing",
    r"""
== two names of one list
a = [1]; b = a
--
b.append(2)
assert a is b and a == [1, 2]
== two names of one immutable value
t = (1, "x"); s = t; text = "y" * 100_000; copy = text; raw = bytes(200_000); again = raw; f = frozenset({1}); g = f
--
assert s is t and copy is text and again is raw and g is f
== an immutable value inside of others
t = (1, (2, 3)); kept = {"t": t, "list": [t]}; held = [t]
--
assert kept["t"] is t is kept["list"][0] is held[0]
== values of the library with two names
import datetime, decimal, pathlib, uuid
when = datetime.datetime(2026, 1, 1); w = when; money = decimal.Decimal("1.1"); kept = {"when": when, "money": [money]}; path = pathlib.Path("x"); p = path; one = uuid.uuid4(); two = [one]
--
assert w is when is kept["when"] and kept["money"][0] is money and p is path and two[0] is one
== a list inside of a dict of lists
a = [1]; table = {"x": [a, a], "y": {"z": a}}
--
a.append(2)
assert table["x"][0] is table["x"][1] is table["y"]["z"] is a
== containers that hold themselves
loop = [1]; loop.append(loop); table = {}; table["me"] = table; nest = ([],); nest[0].append(nest)
--
assert loop[1] is loop and table["me"] is table and nest[0][0] is nest
== two variables that hold each other
left, right = {}, {}; left["r"] = right; right["l"] = left
--
assert left["r"] is right and right["l"] is left and left["r"]["l"] is left
== a tree with parents
class Node:
    def __init__(self, up=None): self.up, self.below = up, []
root = Node(); kids = [Node(root) for _ in range(3)]; root.below += kids; leaf = Node(kids[1]); kids[1].below.append(leaf)
--
assert all(kid.up is root for kid in kids) and root.below[1].below[0] is leaf and leaf.up.up is root
== a linked list of some length
class Link:
    def __init__(self, value, next=None): self.value, self.next = value, next
head = None
for number in range(150): head = Link(number, head)
tail = head
while tail.next: tail = tail.next
--
length, at = 1, head
while at.next: at, length = at.next, length + 1
assert length == 150 and at is tail
== a doubly linked ring
class Ring: pass
ring = [Ring() for _ in range(50)]
for i, each in enumerate(ring): each.next, each.back = ring[(i + 1) % 50], ring[i - 1]
first = ring[0]
--
at = first
for _ in range(50): assert at.next.back is at; at = at.next
assert at is first
== a list deeper than the recursion limit's worth of frames
deep = []
for _ in range(300): deep = [deep]
bottom = deep
while bottom: bottom = bottom[0]
--
at, depth = deep, 0
while at: at, depth = at[0], depth + 1
assert depth == 300 and at is bottom
== aliases made in another cell
a = {"n": 1}
++
b = [a]; c = b
--
c[0]["n"] = 2
assert a == {"n": 2} and b is c
== an alias that was cut
a = [1]; b = a
++
b = [1]
--
b.append(2)
assert a == [1]
== a variable that was deleted, and one that was bound again
a = [1]; b = a; gone = 1
++
del a, gone; c = b
--
assert "a" not in globals() and "gone" not in globals() and c is b
== an object in a closure, a default, an attribute and a class
shared = {"n": 0}
def by_default(d=shared): return d
def holder(x): return lambda: x
by_closure = holder(shared); by_default.attribute = shared
class Holds:
    value = shared
    def __init__(self): self.own = shared
one = Holds(); kept = [shared]
--
shared["n"] = 1
assert by_default() is by_closure() is by_default.attribute is Holds.value is one.own is kept[0] is shared
== a bound method and its object, apart
class Box:
    def __init__(self): self.items = []
    def add(self, x): self.items.append(x)
box = Box(); add = box.add; items = box.items; table = {"add": box.add}
--
add(1); table["add"](2)
assert items == [1, 2] and box.items is items
== two groups that share a class but nothing else
class P:
    def __init__(self, v): self.v = v
a, b = P([1]), P([2]); many = [P(i) for i in range(10)]
--
assert type(a) is type(b) is type(many[3]) is P
P.extra = 5
assert a.extra == b.extra == many[0].extra == 5
== a set and the objects in it
class Item:
    __slots__ = ("v", "in_")
    def __init__(self, v): self.v = v
one, two = Item(1), Item(2); group = {one, two}; one.in_ = group; frozen = frozenset({one})
--
assert one in group and one in frozen and one.in_ is group and len(group) == 2
== keys that are objects
class Key: pass
key = Key(); table = {key: "v"}; key.table = table; nested = {(key, 1): [key]}
--
assert table[key] == "v" and key.table is table and nested[(key, 1)][0] is key
== ids agree with a record of them
objects = [[], {}, set(), object(), [].append]; pairs = {(i, j) for i in range(5) for j in range(5) if objects[i] is objects[j]}; again = objects[:4]; same = [a is b for a, b in zip(objects, again)]
--
assert [a is b for a, b in zip(objects, again)] == same and len({id(o) for o in objects}) == 5
== plain objects as markers
MISSING = object(); EMPTY = object()
def find(d, k, default=MISSING): return d.get(k, MISSING) is default
class Uses: marker = MISSING
kept = {"m": MISSING}
--
assert find({}, "x") and Uses.marker is MISSING is kept["m"] is not EMPTY and type(EMPTY) is object
== deep sharing in a frame of mixed kinds
from collections import OrderedDict, deque, defaultdict
core = [0]; mixed = OrderedDict(a=deque([core], 3), b=defaultdict(list, {"k": core}), c=(core, frozenset({1}))); alias = mixed["b"]
--
core.append(1)
assert mixed["a"][0] is mixed["b"]["k"] is mixed["c"][0] is core and alias is mixed["b"]
alias["new"].append(core)
assert mixed["b"]["new"][0] is core
== an observer pattern
class Subject:
    def __init__(self): self.watchers = []
    def tell(self, x): [w(x) for w in self.watchers]
class Watcher:
    def __init__(self, subject): self.seen = []; subject.watchers.append(self.on)
    def on(self, x): self.seen.append(x)
subject = Subject(); watcher = Watcher(subject); subject.watchers.append(lambda x: log.append(x)); log = []
--
subject.tell(5)
assert watcher.seen == [5] and log == [5]
== a memo that a function and the session share
memo = {}
def fib(n):
    if n not in memo: memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)
    return memo[n]
fib(20)
--
assert memo[20] == 6765 and fib(30) == 832040 and 30 in memo
== an iterator and what it runs over
items = [1, 2, 3]; it = iter(items); next(it); pair = {"it": it, "items": items}
--
items.append(4)
assert pair["it"] is it and list(it) == [2, 3, 4] and pair["items"] is items
== a dict that changed while it kept its size
a = {"x": [1]}; inner = a["x"]
++
a["x"] = [2]
--
inner.append(3)
assert a == {"x": [2]} and inner == [1, 3]
== many names of small things
for number in range(300): globals()[f"v{number}"] = [number]
all_of = [globals()[f"v{number}"] for number in range(300)]
--
assert all(globals()[f"v{number}"] is all_of[number] and all_of[number] == [number] for number in range(300))
== a graph of functions, classes and objects that know each other
class Engine:
    rules = {}
    @classmethod
    def rule(cls, function): cls.rules[function.__name__] = function; return function
    def run(self, name): return Engine.rules[name](self)
@Engine.rule
def start(engine): engine.log.append("start"); return start
engine = Engine(); engine.log = log = []; engine.rules_view = Engine.rules
--
assert engine.run("start") is start and log == ["start"] and engine.log is log and engine.rules_view is Engine.rules
""",
)
