"""Objects of the standard library that cells hold: iterators, hints, exceptions, files, codes and collections."""

from .case import read

CASES = read(
    "standard objects",
    r"""
== a generator [loses: g]
g = (i for i in range(3)); next(g); kept = [1]
--
assert kept == [1]
== iterators [or loses: c, cy, z, e, m, gr]
import itertools
c = itertools.count(5); next(c); cy = itertools.cycle('ab'); next(cy); z = zip([1,2],[3,4]); e = enumerate('ab'); m = map(str, [1]); gr = itertools.islice(range(9), 3, 6); kept = [1]
--
assert next(c) == 6 and next(cy) == 'b' and list(z) == [(1,3),(2,4)] and list(e) == [(0,'a'),(1,'b')] and list(m) == ['1'] and list(gr) == [3,4,5]
-- told
assert kept == [1] and next(itertools.count(5)) == 5
== iterators over what changes
lst = [1, 2, 3]; it = iter(lst); next(it); d = {"a": 1}; keys = d.keys(); items = d.items(); rev = reversed(lst); rng = iter(range(5)); next(rng);
--
lst.append(4); d["b"] = 2
assert list(it) == [2, 3, 4], "the iterator is over a copy now"
assert list(keys) == ["a", "b"] and ("b", 2) in items, "the view is of a copy now"
assert list(rng) == [1, 2, 3, 4] and next(rev) == 3
== type hints
import typing as t
from typing import *
class P(Protocol):
    def m(self) -> int: ...
class TD(TypedDict, total=False):
    a: int
class NT(NamedTuple):
    a: int
    b: str = 'x'
U = Union[int, str]; L = Literal['a']; A = Annotated[int, 'q']; T = TypeVar('T', bound=int); Cb = Callable[[int], str]
@runtime_checkable
class RC(Protocol):
    def close(self): ...
nt = NT(1)
--
assert nt == NT(1, 'x') and TD.__optional_keys__ == frozenset({'a'}) and get_args(U) == (int, str) and isinstance(open('/dev/null'), RC) and get_args(A) == (int, 'q')
== a tree of instances
class N:
    def __init__(s, v): s.v = v; s.k = []; s.p = None
r = N(0)
for i in range(3): c = N(i); c.p = r; r.k.append(c)
al = r.k[1]
--
assert al is r.k[1] and al.p is r and len(r.k) == 3
== a hash, a structure, an array and a compressor [or loses: h, z]
import hashlib, zlib, struct, array
h = hashlib.sha256(b'a'); st = struct.Struct('<I'); a = array.array('d', [1,2]); z = zlib.compressobj()
--
assert st.pack(1) == b'\x01\0\0\0' and a[1] == 2 and h.hexdigest()
-- told
assert st.pack(1) == b'\x01\0\0\0' and a[1] == 2
== expressions, dates, zones, fractions, identifiers and networks [or loses: m]
import re, datetime, zoneinfo, fractions, uuid, ipaddress
r = re.compile('a+'); m = r.match('aab'); tz = zoneinfo.ZoneInfo('Europe/Berlin'); d = datetime.datetime(2020,1,1,tzinfo=tz); f = fractions.Fraction(1,3); u = uuid.uuid4(); ip = ipaddress.ip_network('10.0.0.0/8')
--
assert r.match('a') and d.tzinfo is tz and f*3 == 1 and m.group() == 'aa'
-- told
assert r.match('a') and d.tzinfo is tz and f*3 == 1 and ip.num_addresses == 2**24
== exceptions and groups of them
try: 1/0
except ZeroDivisionError as e: err = e
eg = ExceptionGroup('g', [ValueError(1), KeyError('k')])
--
assert str(err) == 'division by zero' and len(eg.exceptions) == 2
== exceptions of cells, with causes, notes and attributes
class Own(Exception):
    def __init__(self, code, *, hint): super().__init__(f"code {code}"); self.code, self.hint = code, hint
try:
    try: {}["k"]
    except KeyError as exc: raise Own(5, hint=["h"]) from exc
except Own as exc: err = exc
err.add_note("n"); held = {"e": err}; cause = err.__cause__
--
assert err.code == 5 and err.hint == ["h"] and err.__notes__ == ["n"] and held["e"] is err and err.__cause__ is cause and type(cause) is KeyError and str(err) == "code 5"
== a file in memory, a path and an archive in memory
import io, pathlib, zipfile
text = io.StringIO("ab\ncd\n"); text.readline(); raw = io.BytesIO(b"123"); raw.seek(1); path = pathlib.PurePosixPath("/a/b"); buf = io.BytesIO(); arch = zipfile.ZipFile(buf, "w"); arch.writestr("x", "y"); arch.close(); both = [raw, raw]
--
assert text.readline() == "cd\n" and raw.read() == b"23" and both[0] is both[1] is raw and path.parent.name == "a" and zipfile.ZipFile(buf).read("x") == b"y"
== files that are closed
import gzip, io, os, subprocess, tempfile
with open("t.txt", "w", encoding="latin-1") as t: t.write("x")
with open("t.txt", "rb") as b: b.read()
with open("t.txt", "r+b", buffering=0) as raw: raw.read()
with open("t.txt", "ab+") as both: both.write(b"y")
with open("x.txt", "x") as once: once.mine = [1]
with tempfile.NamedTemporaryFile() as temporary: pass
done = subprocess.Popen(["echo", "out"], stdout=subprocess.PIPE); out = done.communicate()
memory = io.BytesIO(b"1"); memory.close(); text = io.StringIO("1"); text.close(); wrapped = io.TextIOWrapper(io.BytesIO()); wrapped.close()
seen = [(type(f), f.name, f.mode, f.closed) for f in (t, b, raw, both, once)]; held = [t, t]
--
assert [(type(f), f.name, f.mode, f.closed) for f in (t, b, raw, both, once)] == seen and held[0] is held[1] is t
assert (t.encoding, t.errors, t.line_buffering, once.mine) == ("latin-1", "strict", False, [1]) and t.buffer.raw.name == "t.txt"
assert temporary.closed and done.stdout.closed and done.returncode == 0 and memory.closed and text.closed and wrapped.closed
for f in (t, b, raw, both, once, memory, text, wrapped, done.stdout):
    try: f.read()
    except ValueError as e: assert "closed file" in str(e), e
    else: raise AssertionError(f)
assert not os.path.exists(temporary.name) and open("t.txt").read() == "xy"
== methods of the standard streams
import logging, sys
write, error, flush = sys.stdout.write, sys.stderr.write, sys.__stdout__.flush; calls = {"w": write}
--
assert calls["w"] is write and write("") == 0 and error("") == 0 and flush() is None and flush.__self__ is sys.__stdout__
== files that are open [loses: r, w, log]
import gzip, io
w = open("w.txt", "w"); w.write("x"); r = open("/etc/hosts"); log = io.TextIOWrapper(io.FileIO("raw.bin", "w")); kept = [1]
--
assert kept == [1]
== caches of functions
import functools
calls = []
@functools.lru_cache(maxsize=2)
def slow(n): calls.append(n); return n * factor
factor = 2; slow(1); bound = slow.cache_info
class Svc:
    @functools.cache
    def get(self, n): return [n]
    @functools.cached_property
    def once(self): return [self]
svc = Svc(); first = svc.once
--
assert slow(1) == 2 and slow.cache_parameters()["maxsize"] == 2 and svc.get(3) == [3] and svc.once is first and first[0] is svc
factor = 3; assert slow(5) == 15
== partials, getters, methods and descriptors
import functools, operator
class A:
    def __init__(self, v): self.v = v
    def m(self, n=1): return self.v + n
    @classmethod
    def c(cls): return cls
    @staticmethod
    def s(): return "s"
    p = property(lambda self: self.v, lambda self, v: setattr(self, "v", v * 2))
    pm = functools.partialmethod(m, 10)
a = A(5); bound = a.m; part = functools.partial(bound, n=2); get = operator.attrgetter("v"); call = operator.methodcaller("m", 3); cm = A.c; raw = A.__dict__["c"]; prop = A.p
--
assert bound() == 6 and bound.__self__ is a and part() == 7 and get(a) == 5 and call(a) == 8 and cm() is A and a.pm() == 15 and raw is A.__dict__["c"] and prop is A.p
a.p = 4; assert a.v == 8
== closures that share a variable, and one that is empty
def make():
    n = 0
    def add(): nonlocal n; n += 1; return n
    def read(): return n
    if n: later = 1
    def unset(): return later
    return add, read, unset
add, read, unset = make(); add();
--
assert read() == 1 and add() == 2 and read() == 2
try: unset()
except NameError: pass
else: raise AssertionError("an empty cell has a value")
== code, frames of source and ast
import ast, dis, inspect, types
code = compile("x + 1", "<own>", "eval"); tree = ast.parse("a = [1]"); f = lambda a, /, b=2, *c, d: (a, b, c, d); sig = inspect.signature(f); cell = types.CellType([1]); made = types.FunctionType(f.__code__, globals(), "made", (5,))
--
x = 4
assert eval(code) == 5 and type(tree.body[0]) is ast.Assign and list(sig.parameters) == ["a", "b", "c", "d"] and cell.cell_contents == [1] and made(1, d=0) == (1, 5, (), 0)
== collections of every kind
import collections, types, graphlib, heapq, random, statistics, string, textwrap
chain = collections.ChainMap({"a": 1}, {"b": 2}); proxy = types.MappingProxyType({"k": [1]}); ns = types.SimpleNamespace(a=[1]); ns.me = ns; rnd = random.Random(5); rnd.random(); sysr = random.SystemRandom(); tpl = string.Template("$a"); norm = statistics.NormalDist(1, 2); topo = graphlib.TopologicalSorter({"a": {"b"}}); user = collections.UserDict(x=1); want = random.Random(5)
--
want.random(); assert rnd.random() == want.random() and chain["b"] == 2 and proxy["k"] == [1] and ns.me is ns and tpl.substitute(a="z") == "z" and norm.mean == 1 and list(topo.static_order()) == ["b", "a"] and user["x"] == 1 and 0 <= sysr.random() < 1
== an argument parser, a configuration and a formatter
import argparse, configparser, string
parser = argparse.ArgumentParser(prog="p"); parser.add_argument("--n", type=int, default=3, action="store"); sub = parser.add_subparsers(); one = sub.add_parser("one"); one.set_defaults(func=lambda a: "ran"); ini = configparser.ConfigParser(); ini.read_string("[a]\nb = 1\n"); fmt = string.Formatter()
--
assert parser.parse_args(["--n", "4"]).n == 4 and parser.parse_args(["one"]).func(None) == "ran" and ini["a"].getint("b") == 1 and fmt.format("{0}", 1) == "1"
== shared memory and memory maps [loses: mapped] [or loses: shm]
import mmap
from multiprocessing import shared_memory
open("map.bin", "wb").write(b"0" * 4096); file = open("map.bin", "r+b"); mapped = mmap.mmap(file.fileno(), 4096); file.close(); del file; kept = [1]
--
assert kept == [1] and open("map.bin", "rb").read(1) == b"0"
== memory views [or loses: view, part]
raw = bytearray(b"abcdef"); view = memoryview(raw); part = view[2:4]; kept = bytes(part)
--
raw[2] = 90
assert kept == b"cd" and part[0] == 90 and view.obj is raw, "the view is of a copy now"
-- told
assert kept == b"cd" and raw == b"abcdef"
""",
)
