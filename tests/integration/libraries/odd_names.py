"""Odd names in globals(), reasons with lone surrogates, objects that lie about their class."""

from dataclasses import replace

from .case import read

_LOSES_MANY = "three thousand values that are lost"

_CASES = read(
    "odd names",
    r"""
== a reason with a surrogate [loses: bad]
class Bad:
    def __reduce__(self): raise ValueError('file \udcff not found')
bad = Bad(); keep = [1]
--
assert keep == [1]
== a name with a surrogate [loses: n\udc80]
globals()['n\udc80'] = (i for i in [1]); globals()['m\udc80'] = [2]; keep = [1]
--
assert keep == [1] and globals()['m\udc80'] == [2]
== names that are not texts
globals()[5] = 'five'; globals()[('a', 1)] = [1]; keep = [1]
++
keep.append(2)
--
assert keep == [1, 2] and globals()[5] == 'five' and globals()[('a', 1)] == [1]
== names like paths [loses: globals()['./x']]
globals()['./x'] = (i for i in [1]); globals()['a b'] = [3]; globals()[''] = [4]; keep = [1]
--
assert keep == [1] and globals()['a b'] == [3] and globals()[''] == [4]
== a name of a subclass of texts
class S(str): pass
globals()[S('sub')] = [1]; keep = [2]
--
assert keep == [2] and sub == [1]
== names of other alphabets, keywords and many characters
globals()["класс"] = [1]; globals()["class"] = [2]; globals()["n" * 5000] = [3]; globals()["zero\0"] = [4]; globals()["line\n"] = [5]; é = [6]
--
assert класс == [1] and globals()["class"] == [2] and globals()["n" * 5000] == [3] and globals()["zero\0"] == [4] and globals()["line\n"] == [5] and é == [6]
== an object that lies about its class
class Proxy:
    def __init__(self, o): object.__setattr__(self, '_o', o)
    @property
    def __class__(self): return type(self._o)
    def __getattr__(self, n): return getattr(self._o, n)
p = Proxy([1, 2]); d = Proxy({'a': 1}); keep = [p]
--
assert isinstance(p, list) and p._o == [1, 2] and keep[0] is p and d._o == {'a': 1}
== mocks
from unittest import mock
m = mock.MagicMock(return_value=3); m(1); spec = mock.create_autospec(dict); keep = [1]
--
assert keep == [1] and m(2) == 3 and m.call_count == 2
== a patch that is active
from unittest import mock
import json
patcher = mock.patch.object(json, "dumps", lambda o: "mocked"); patcher.start(); keep = [1]
--
assert keep == [1] and json.dumps(1) == "mocked"
patcher.stop(); assert json.dumps(1) == "1"
== a class with a huge name [loses: c]
C = type('C' * 100_000, (), {'__reduce__': lambda s: 1 / 0}); c = C(); keep = [1]
--
assert keep == [1] and len(C.__name__) == 100_000
== a comparison that raises, on sys.path
import sys, warnings
class E:
    def __eq__(self, o): raise RuntimeError('no')
    __hash__ = object.__hash__
    def __fspath__(self): return '/x'
sys.path.append(E()); keep = [E()]
++
x = 1
--
assert x == 1 and len(keep) == 1
== three thousand values that are lost
for i in range(3000): globals()[f'g{i}'] = (j for j in [])
keep = [1]
--
assert keep == [1]
== a __getattr__ of the module
def __getattr__(name): return name.upper()
import __main__
v = __main__.zz
--
assert v == 'ZZ' and __main__.yy == 'YY'
== objects whose every method raises [or loses: a, b, held]
class Hostile:
    def __getattribute__(self, name): raise RuntimeError(name)
    def __eq__(self, o): raise RuntimeError("eq")
    def __hash__(self): raise RuntimeError("hash")
    def __repr__(self): raise RuntimeError("repr")
    def __bool__(self): raise RuntimeError("bool")
    def __len__(self): raise RuntimeError("len")
a = Hostile(); b = [a]; held = {"h": a}; keep = [1]
--
assert keep == [1] and type(a) is Hostile and b[0] is a is held["h"]
-- told
assert keep == [1] and type(Hostile()) is Hostile
== an object with a huge number of attributes, and one with slots and a dictionary
class Wide: pass
w = Wide(); w.__dict__.update({f"a{i}": i for i in range(5000)})
class Both:
    __slots__ = ("s", "__dict__", "__weakref__")
both = Both(); both.s = [1]; both.d = both.s
--
assert w.a4999 == 4999 and both.s is both.d and both.__dict__ == {"d": [1]}
== wrapped objects
import functools
def plain(n): return n
class Svc:
    def run(self, n): return n + 1
keep = [1]
wrapped = functools.wraps(plain)(lambda n: plain(n) + 5)
--
assert keep == [1] and wrapped(1) == 6 and wrapped.__wrapped__ is plain and Svc().run(1) == 2
""",
)

CASES = [
    replace(case, loses=frozenset(f"g{number}" for number in range(3000))) if case.name == _LOSES_MANY else case
    for case in _CASES
]
