"""Tools of the standard library: functools, itertools, operator, weakref, contextlib, exceptions, context variables."""

from .cases import read

CASES = read(
    "tools",
    r"""
== functools.partial
import functools
def power(base, exponent, *, extra=0): return base ** exponent + extra
square = functools.partial(power, exponent=2); square.note = [1]; nested = functools.partial(square, extra=1)
--
assert square(3) == 9 and nested(3) == 10 and square.func is power and square.note == [1]
== functools.partialmethod
import functools
class Cell:
    def set(self, value): self.value = value; return self
    on = functools.partialmethod(set, True)
cell = Cell()
--
assert cell.on().value is True
== lru_cache and cache
import functools
calls = []
@functools.lru_cache(maxsize=7, typed=True)
def double(x):
    calls.append(x)
    return 2 * x
@functools.cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
double(2)
--
assert double(3) == 6 and double(3) == 6 and calls.count(3) == 1 and double.cache_parameters() == {"maxsize": 7, "typed": True} and fib(30) == 832040 and double.__name__ == "double"
== lru_cache of a method
import functools
class Slow:
    made = 0
    @functools.lru_cache
    def get(self): Slow.made += 1; return self.__class__.__name__
slow = Slow(); slow.get()
--
assert slow.get() == slow.get() == "Slow" and Slow.made == 2
== an alias of a cached function, with attributes
import functools
@functools.lru_cache
def f(x): return x
f.note = "n"; g = f; kept = {"f": f}
--
assert g is f and kept["f"] is f and f.note == "n" and f(1) == 1
== cached_property
import functools
class Data:
    def __init__(self): self.runs = 0
    @functools.cached_property
    def value(self): self.runs += 1; return [self.runs]
one, two = Data(), Data(); one.value
--
assert one.value == [1] and one.runs == 1 and two.value == [1] and two.value is two.value and Data.value.attrname == "value"
== singledispatch
import functools
class Own: pass
@functools.singledispatch
def kind(value): return "any"
@kind.register
def _(value: int): return "int"
@kind.register(Own)
def _(value): return "own"
--
assert [kind(1), kind(Own()), kind("")] == ["int", "own", "any"]
@kind.register(str)
def _(value): return "str"
assert kind("") == "str"
== singledispatchmethod
import functools
class Printer:
    @functools.singledispatchmethod
    def show(self, value): return "any"
    @show.register
    def _(self, value: int): return "int"
printer = Printer()
--
assert printer.show(1) == "int" and printer.show("") == "any"
== total_ordering
import functools
@functools.total_ordering
class Version:
    def __init__(self, n): self.n = n
    def __eq__(self, other): return self.n == other.n
    def __lt__(self, other): return self.n < other.n
one, two = Version(1), Version(2)
--
assert one < two and two >= one and max(one, two) is two
== wraps
import functools
def logged(function):
    @functools.wraps(function)
    def inner(*args): inner.calls += 1; return function(*args)
    inner.calls = 0
    return inner
@logged
def add(a: int, b: int) -> int:
    "Add."
    return a + b
add(1, 2)
--
assert add(1, 2) == 3 and add.calls == 2 and add.__name__ == "add" and add.__doc__ == "Add." and add.__wrapped__(2, 2) == 4 and add.__annotations__["return"] is int
== cmp_to_key
import functools
key = functools.cmp_to_key(lambda a, b: b - a)
--
assert sorted([1, 3, 2], key=key) == [3, 2, 1]
== itertools count, cycle, chain, islice
import itertools
counted = itertools.count(5, 2); next(counted); turning = itertools.cycle("ab"); next(turning); joined = itertools.chain([1], [2, 3]); next(joined); cut = itertools.islice(range(9), 2, 6); next(cut)
--
assert next(counted) == 7 and next(turning) == "b" and list(joined) == [2, 3] and list(cut) == [3, 4, 5]
== itertools product, permutations, combinations, accumulate, zip_longest
import itertools
made = [itertools.product("ab", [1]), itertools.permutations([1, 2]), itertools.combinations("abc", 2), itertools.accumulate([1, 2, 3]), itertools.zip_longest("a", "bc")]
[next(each) for each in made]
--
assert [list(each) for each in made] == [[("b", 1)], [(2, 1)], [("a", "c"), ("b", "c")], [3, 6], [(None, "c")]]
== itertools starmap, takewhile, dropwhile, compress, repeat, groupby
import itertools
def small(x): return x < 3
made = [itertools.starmap(pow, [(2, 3), (3, 2)]), itertools.takewhile(small, [1, 2, 5]), itertools.dropwhile(small, [1, 5, 2]), itertools.compress("abc", [1, 0, 1]), itertools.repeat("x", 3)]
[next(each) for each in made]
--
assert [list(each) for each in made] == [[9], [2], [2], ["c"], ["x", "x"]]
== itertools tee
import itertools
left, right = itertools.tee([1, 2, 3]); next(left)
--
assert list(left) == [2, 3] and list(right) == [1, 2, 3]
== iterators of containers go on where they were
items = [1, 2, 3]; over = iter(items); next(over); keys = iter({"a": 1, "b": 2}); next(keys); text = iter("abc"); next(text); counted = iter(range(5)); next(counted); back = reversed(items); next(back)
--
items.append(4)
assert list(over) == [2, 3, 4] and list(keys) == ["b"] and list(text) == ["b", "c"] and next(counted) == 1 and next(back) == 2
== map, filter, zip and enumerate
def double(x): return 2 * x
made = [map(double, [1, 2, 3]), filter(None, [0, 1, 2]), zip("ab", [1, 2]), enumerate("xy", 5)]
[next(each) for each in made]
--
assert [list(each) for each in made] == [[4, 6], [2], [("b", 2)], [(6, "y")]]
== iter with a sentinel
import functools
left = [3, 2, 1]; over = iter(left.pop, 3); next(over)
--
assert list(over) == [2] and left == []
== operator getters
import operator
get, pick, call = operator.itemgetter(1, 0), operator.attrgetter("real"), operator.methodcaller("upper")
--
assert get("ab") == ("b", "a") and pick(5) == 5 and call("a") == "A"
== weak references to what lives on
import weakref
class Node: pass
node = Node(); link = weakref.ref(node); table = weakref.WeakValueDictionary(a=node); marks = weakref.WeakKeyDictionary({node: 1}); kept = weakref.WeakSet([node])
--
assert link() is node and table["a"] is node and marks[node] == 1 and node in kept
del node
import gc; gc.collect()
assert link() is None and len(table) == len(marks) == len(kept) == 0
== weak references inside of a graph
import weakref
class Tree:
    def __init__(self, up=None):
        self.up = weakref.ref(up) if up else None
        self.below = []
        if up: up.below.append(self)
root = Tree(); leaf = Tree(root)
--
assert leaf.up() is root and root.below[0] is leaf
== a dead weak reference
import weakref, gc
class Node: pass
link = weakref.ref(Node()); gc.collect()
--
assert link() is None
== weak proxies
import weakref
class Node:
    value = 4
node = Node(); proxy = weakref.proxy(node)
--
assert proxy.value == 4 and type(proxy) is weakref.ProxyType
node.value = 5
assert proxy.value == 5
== WeakMethod
import weakref
class Node:
    def hi(self): return "hi"
node = Node(); method = weakref.WeakMethod(node.hi)
--
assert method()() == "hi" and method().__self__ is node
== exceptions with notes, causes and fields
class Refused(Exception):
    def __init__(self, code, *, why): super().__init__(code); self.code, self.why = code, why
try:
    try: 1 / 0
    except ZeroDivisionError as exc: raise Refused(3, why=["w"]) from exc
except Refused as exc: kept = exc; kept.add_note("a note")
--
assert type(kept) is Refused and kept.code == 3 and kept.why == ["w"] and kept.args == (3,) and kept.__notes__ == ["a note"]
== the cause and the context of an exception
try:
    try: 1 / 0
    except ZeroDivisionError as exc: raise KeyError("k") from exc
except KeyError as exc: caused = exc
try:
    try: [][0]
    except IndexError: {}["x"]
except KeyError as exc: during = exc
--
assert type(caused.__cause__) is ZeroDivisionError and caused.__suppress_context__ and type(during.__context__) is IndexError and during.__cause__ is None
== exception groups
group = ExceptionGroup("many", [ValueError(1), ExceptionGroup("deep", [KeyError("k")])])
--
assert group.message == "many" and group.subgroup(KeyError).exceptions[0].exceptions[0].args == ("k",) and len(group.exceptions) == 2
== built-in exceptions keep their fields
kept = [OSError(2, "no", "file"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), StopIteration(5), SystemExit(3), ImportError("x", name="m", path="p"), AttributeError("a", name="n", obj=[1]), SyntaxError("s", ("f", 1, 2, "t"))]
--
assert type(kept[0]) is FileNotFoundError and kept[0].filename == "file" and kept[1].reason == "bad" and kept[2].value == 5 and kept[3].code == 3 and kept[4].name == "m" and kept[6].lineno == 1
== a context variable
import contextvars
var = contextvars.ContextVar("var", default=[3]); other = contextvars.ContextVar("other")
def read(): return var.get()
--
assert read() == [3] and var.name == "var" and other.get("none") == "none"
token = var.set([4])
assert read() == [4]
== contextlib tools
import contextlib
@contextlib.contextmanager
def within(log):
    log.append("in")
    yield 5
    log.append("out")
quiet = contextlib.suppress(KeyError); nothing = contextlib.nullcontext(7)
--
log = []
with within(log) as five: log.append(five)
with quiet: {}["x"]
with nothing as seven: assert seven == 7
assert log == ["in", 5, "out"]
== an exit stack that has callbacks
import contextlib
done = []
stack = contextlib.ExitStack(); stack.callback(done.append, 1)
--
stack.close()
assert done == [1]
== enumerated results: signal, socket and http constants
import signal, http, socket
kept = [signal.SIGINT, http.HTTPStatus.NOT_FOUND, socket.AF_INET]
--
assert kept[0] is signal.SIGINT and kept[1] is http.HTTPStatus.NOT_FOUND and kept[2] is socket.AF_INET
== inspect signatures
import inspect
def f(a, /, b: int = 2, *, c): pass
signature = inspect.signature(f)
--
assert str(signature) == "(a, /, b: int = 2, *, c)" and signature.bind(1, c=2).arguments == {"a": 1, "c": 2}
== types of the interpreter
import types
kept = [types.FunctionType, types.GeneratorType, types.ModuleType, types.CodeType, types.CellType, types.MethodType, types.MappingProxyType, type({}.keys()), type(iter([])), types.TracebackType]
--
assert kept[0] is types.FunctionType and kept[4] is types.CellType and kept[7] is type({}.keys()) and kept[8] is type(iter([])) and kept[9] is types.TracebackType
== a cell object
import types
box = types.CellType([1]); empty = types.CellType(); alias = box
--
assert box.cell_contents == [1] and alias is box
empty.cell_contents = 2
== a property, a staticmethod and a classmethod by themselves
def get(self): return 4
one, two, three = property(get, doc="d"), staticmethod(get), classmethod(get)
--
class Made: x = one; y = two; z = three
assert Made().x == 4 and Made.y(0) == 4 and Made.z() == 4 and one.__doc__ == "d" and one.fget is get
== selectors of text: difflib, textwrap, pprint
import difflib, textwrap, pprint
match, wrap, show = difflib.SequenceMatcher(None, "abc", "abd"), textwrap.TextWrapper(width=5), pprint.PrettyPrinter(indent=3)
--
assert match.ratio() > 0.6 and wrap.fill("aa bb cc") == "aa bb\ncc" and show.pformat([1]) == "[1]"
== hashes as values, HMAC by digest
import hashlib
done = hashlib.sha256(b"x").hexdigest(); make = hashlib.sha256
--
assert make(b"x").hexdigest() == done
== the standard streams by name
import sys
out, err = sys.stdout, sys.stderr
--
assert out is sys.stdout and err is sys.stderr
""",
)
