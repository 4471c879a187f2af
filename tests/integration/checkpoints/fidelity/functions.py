"""Functions that cells define."""

from .cases import read

CASES = read(
    "functions",
    r"""
== a function sees names that are bound later
def read(): return later + 1
--
later = 5
assert read() == 6 and read.__globals__ is globals()
later = 7
assert read() == 8
== global counters still count
count = 0
def up():
    global count
    count += 1
    return count
up()
--
assert up() == 2 and count == 2
count = 10
assert up() == 11
== closures
def adder(n):
    def add(x): return x + n
    return add
five, six = adder(5), adder(6)
--
assert five(1) == 6 and six(1) == 7 and five.__code__ is six.__code__
== a cell that two functions share
def make():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def now(): return n
    return up, now
up, now = make(); up()
--
assert up() == 2 and now() == 2 and up.__closure__[0] is now.__closure__[0]
== a cell shared by functions in different containers
def make():
    seen = []
    def add(x): seen.append(x)
    def get(): return seen
    return add, get
add, get = make(); writers = [add]; readers = {"get": get}; del add, get
--
writers[0](4)
assert readers["get"]() == [4]
== a closure that holds a variable of the session
shared = [1]
def hold(x):
    def get(): return x
    return get
get = hold(shared)
--
shared.append(2)
assert get() is shared
== a local function that calls itself
def make():
    def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
    return factorial
factorial = make()
--
assert factorial(5) == 120 and factorial.__closure__[0].cell_contents is factorial
== local functions that call each other
def make():
    def even(n): return True if n == 0 else odd(n - 1)
    def odd(n): return False if n == 0 else even(n - 1)
    return even, odd
even, odd = make()
--
assert even(10) and odd(7) and even.__closure__[0].cell_contents is odd and odd.__closure__[0].cell_contents is even
== a local function with itself in a container
def make():
    table = {}
    def walk(n): return n if n == 0 else table["walk"](n - 1)
    table["walk"] = walk
    return walk, table
walk, table = make()
--
assert walk(3) == 0 and table["walk"] is walk
== mutual recursion through globals
def ping(n): return "end" if n == 0 else pong(n - 1)
def pong(n): return ping(n)
--
assert ping(3) == "end"
def pong(n): return "new"
assert ping(3) == "new"
== a cell that is empty yet
def make():
    def get(): return value
    if False: value = 1
    def put(v):
        nonlocal value
        value = v
    return get, put
get, put = make()
--
put(3)
assert get() == 3
== defaults, keyword defaults and annotations
stock = [1]
def f(a, b=stock, /, *args, c: int = 3, d=None, **rest) -> "list": return (a, b, args, c, d, rest)
--
stock.append(2)
assert f(0)[1] is stock and f(0) == (0, [1, 2], (), 3, None, {}) and f.__kwdefaults__ == {"c": 3, "d": None} and f.__annotations__ == {"c": int, "return": "list"}
== a mutable default keeps what it has
def collect(x, seen=[]):
    seen.append(x)
    return seen
collect(1)
--
assert collect(2) == [1, 2] and collect.__defaults__[0] is collect(3)
== attributes of functions, doc and names
def f():
    "Doc."
f.calls = [1]; f.me = f; f.__name__ = "renamed"; f.__qualname__ = "Q.renamed"
--
assert f.me is f and f.calls == [1] and f.__doc__ == "Doc." and f.__name__ == "renamed" and f.__qualname__ == "Q.renamed" and f.__module__ == "__main__"
== lambdas, everywhere
add = lambda x, y=1: x + y
table = {"f": lambda: table, "g": [lambda v: v * k for k in (1, 2)]}; k = 5
--
assert add(1) == 2 and table["f"]() is table and [g(3) for g in table["g"]] == [6, 6]
== a decorator with arguments, stacked
def times(n):
    def outer(function):
        def inner(*args): return [function(*args) for _ in range(n)]
        inner.n = n
        return inner
    return outer
@times(2)
@times(1)
def hi(): return "hi"
--
assert hi() == [["hi"], ["hi"]] and hi.n == 2
@times(3)
def ho(): return 1
assert ho() == [1, 1, 1]
== a decorator that is a class
class Counted:
    def __init__(self, function): self.function, self.calls = function, 0
    def __call__(self, *args): self.calls += 1; return self.function(*args)
@Counted
def f(x): return x + 1
f(1)
--
assert f(1) == 2 and f.calls == 2 and type(f) is Counted
== a registry that decorators fill
handlers = {}
def handler(name):
    def register(function): handlers[name] = function; return function
    return register
@handler("a")
def on_a(): return "a"
--
assert handlers["a"] is on_a and handlers["a"]() == "a"
@handler("b")
def on_b(): return "b"
assert list(handlers) == ["a", "b"]
== async functions and async generators
import asyncio
async def slow(x):
    await asyncio.sleep(0)
    return x * 2
async def numbers(n):
    for i in range(n): yield i
async def all_of(n): return [await slow(i) async for i in numbers(n)]
--
def drive(coroutine):
    try:
        while True: coroutine.send(None)
    except StopIteration as end: return end.value
assert drive(all_of(3)) == [0, 2, 4]
== generator functions
def numbers(n):
    got = yield n
    yield from (got, *range(n))
--
it = numbers(2)
assert next(it) == 2 and it.send("x") == "x" and list(it) == [0, 1]
== bound methods
class Counter:
    def __init__(self): self.n = 0
    def up(self): self.n += 1; return self.n
counter = Counter(); up = counter.up; kept = [up]
--
assert up() == 1 and counter.n == 1 and kept[0]() == 2 and up.__self__ is counter and up == counter.up
== bound class methods and functions of classes
class Made:
    @classmethod
    def make(cls): return cls()
    @staticmethod
    def two(): return 2
    def plain(self): return self
make, two, plain = Made.make, Made.two, Made.plain; one = Made()
--
assert type(make()) is Made and two() == 2 and plain(one) is one and plain is Made.plain and two is Made.two
== a function that is bound to an object by hand
import types
class Thing: pass
def hello(self): return self.name
thing = Thing(); thing.name = "t"; thing.hello = types.MethodType(hello, thing); listed = types.MethodType(len, [1, 2])
--
assert thing.hello() == "t" and thing.hello.__self__ is thing and thing.hello.__func__ is hello and listed() == 2
== a function of another namespace keeps its own globals
space = {"x": 1}
exec("def get(): return x\ndef put(v):\n    global x\n    x = v", space)
get, put = space["get"], space["put"]
--
put(5)
assert get() == 5 and space["x"] == 5 and get.__globals__ is space and space["get"] is get
== a function with other globals whose namespace no variable has
def build():
    space = {"n": 0, "__name__": "elsewhere"}
    exec("def up():\n    global n\n    n += 1\n    return n\ndef now(): return n", space)
    return space["up"], space["now"]
up, now = build(); up()
--
assert up() == 2 and now() == 2 and up.__globals__ is now.__globals__ and up.__module__ == "elsewhere"
== a function made by a call
import types
def template(x): return x + offset
offset = 1; made = types.FunctionType(template.__code__, globals(), "made", (4,)); own = types.FunctionType(template.__code__, {"offset": 100}, "own")
--
offset = 2
assert made() == 6 and made.__name__ == "made" and own(1) == 101
== a function whose code was replaced
def f(): return 1
def g(): return 2
f.__code__ = g.__code__; f.__defaults__ = None
--
assert f() == 2 and f.__name__ == "f" and f.__code__ is g.__code__
== functions of a module are that module's
import json, os.path
dump, join = json.dumps, os.path.join
--
assert dump is json.dumps and join("a", "b") == "a/b"
== a submodule that only a function uses
import xml.etree.ElementTree
import xml
def parse(text): return xml.etree.ElementTree.fromstring(text).tag
--
assert parse("<a/>") == "a"
== functions in a deep structure are the same function
def f(): return f
table = {"a": [f, (f, {"b": f})]}; alias = f
--
assert table["a"][0] is table["a"][1][0] is table["a"][1][1]["b"] is alias is f is f()
== names that only an annotation or a default mentions
import typing
T = typing.TypeVar("T", bound="Base")
class Base: pass
def first(items: "list[T]", *, default: T | None = None) -> T: return items[0]
--
assert first([3]) == 3 and first.__annotations__["return"] is T and T.__bound__.__forward_arg__ == "Base"
== comprehensions, walrus and star expressions in functions
def f(items): return [(y := x * 2, *rest) for x, *rest in items if (z := len(rest))], y
--
assert f([(1, 2), (3,)])[0] == [(2, 2)]
== a chain of partial functions, methods and closures
import functools
class Acc:
    def __init__(self): self.items = []
    def add(self, a, b): self.items.append((a, b)); return self
acc = Acc(); step = functools.partial(acc.add, 1); later = lambda b: step(b)
--
assert later(2) is acc and acc.items == [(1, 2)]
== a function that raises its own exception class
class Mine(ValueError):
    def __str__(self): return f"mine {self.args[0]}"
def fail(): raise Mine(3)
--
try: fail()
except Mine as exc: assert str(exc) == "mine 3" and isinstance(exc, ValueError)
else: raise AssertionError("nothing was raised")
== functions of cells with future imports
from __future__ import annotations
def f(x: not_defined) -> also.missing: return x
--
assert f(1) == 1 and f.__annotations__ == {"x": "not_defined", "return": "also.missing"}
""",
)
