"""Objects that clean up when they end: a trial of restoring, a hibernation and a fork are not their end."""

from .case import read

CASES = read(
    "finalizers",
    r"""
== a directory that ends with its object, after a trial
import os, shutil, tempfile
class Scratch:
    def __init__(self): self.path = tempfile.mkdtemp(prefix="bq-")
    def __getstate__(self): return {"path": self.path}
    def __setstate__(self, s): self.path = s["path"]
    def __del__(self): shutil.rmtree(self.path, ignore_errors=True)
scratch = Scratch(); open(os.path.join(scratch.path, "f"), "w").write("x");
++
pause = 1
++
import time; time.sleep(1)
assert os.path.exists(os.path.join(scratch.path, 'f')), 'the object lost its directory while it lives'
--
assert os.path.exists(os.path.join(scratch.path, 'f')), 'the object lost its directory'
== a lock file that ends with its object
import os
class Lease:
    def __init__(self): open("lease.lock", "w").write("mine")
    def __setstate__(self, s): self.__dict__.update(s)
    def __del__(self):
        try: os.unlink("lease.lock")
        except OSError: pass
lease = Lease(); lease.n = 1
++
import time; time.sleep(1)
++
assert os.path.exists('lease.lock'), 'the lock file is gone while its object lives'
--
assert os.path.exists('lease.lock'), 'lock file is gone'
== a temporary directory
import tempfile, os
td = tempfile.TemporaryDirectory(); open(os.path.join(td.name, 'f'), 'w').write('x');
--
assert os.path.exists(os.path.join(td.name, 'f'))
== a temporary directory in the workspace
import tempfile, os
td = tempfile.TemporaryDirectory(dir='.'); open(os.path.join(td.name, 'f'), 'w').write('x'); rel = os.path.relpath(td.name)
--
assert os.path.exists(os.path.join(rel, 'f')), os.listdir('.')
== a temporary directory by its name
import tempfile
td = tempfile.TemporaryDirectory(); p = td.name; open(p + '/x', 'w').write('1');
--
assert open(p + '/x').read() == '1'
== a finalizer
import weakref
class A: pass
a = A(); log = []
fin = weakref.finalize(a, log.append, 'done')
--
assert fin.alive
del a
import gc; gc.collect()
assert log == ['done'], log
== finalizers that nothing names
import weakref
class A: pass
log = []
def watch(obj, tag): weakref.finalize(obj, log.append, tag); return obj
a, b = watch(A(), "a"), watch(A(), "b")
++
del b
import gc; gc.collect();
--
assert log == ["b"], log
del a
import gc; gc.collect(); assert sorted(log) == ["a", "b"], log
== a handler for the exit
import atexit
atexit.register(lambda: open('at-exit', 'a').write('x'))
n = 1
--
import os
assert n == 1 and (not os.path.exists("at-exit") or open("at-exit").read() == "x"), "the handler ran more than once"
== callbacks and subclasses of weak references
import weakref
class A: pass
a = A(); gone = []
r = weakref.ref(a, lambda _: gone.append(1)); wk = weakref.WeakKeyDictionary({a: [1]})
class Ref(weakref.ref):
    __slots__ = ('tag',)
    def __new__(cls, o, tag): return super().__new__(cls, o)
    def __init__(self, o, tag): super().__init__(o); self.tag = tag
ref = Ref(a, 't')
--
assert ref() is a and ref.tag == 't' and r() is a
del a
import gc; gc.collect(); assert gone == [1] and ref() is None and len(wk) == 0
== a subclass of weak dictionaries, and interned objects
import weakref
class Cache(weakref.WeakValueDictionary):
    hits = 0
class V: pass
v = V(); cache = Cache(); cache['v'] = v; cache.hits = 3; interned = weakref.WeakValueDictionary()
class Sym:
    def __new__(cls, n):
        if n in interned: return interned[n]
        s = super().__new__(cls); s.n = n; interned[n] = s; return s
    def __reduce__(self): return Sym, (self.n,)
x = Sym('x'); y = [Sym('x')]
--
assert cache['v'] is v and cache.hits == 3 and type(cache) is Cache
assert Sym('x') is x is y[0]
== weak references of every kind
import weakref
class N:
    def m(self): return 5
n = N(); w = weakref.ref(n); wd = weakref.WeakValueDictionary(a=n); ws = weakref.WeakSet([n]); fin = weakref.finalize(n, print, 'gone'); wm = weakref.WeakMethod(n.m); p = weakref.proxy(n); dead = weakref.ref(N())
--
assert w() is n and wd['a'] is n and n in ws and fin.alive
assert wm()() == 5 and p.m() == 5, "the method or the proxy is of another object"
assert dead() is None, "a reference to nothing has something"
del n
import gc; gc.collect(); assert w() is None and wm() is None and not len(wd) and not len(ws), "something else keeps it alive"
== a counter of instances that their ends decrease
class Counted:
    alive = 0
    def __init__(self): Counted.alive += 1
    def __setstate__(self, s): self.__dict__.update(s)
    def __del__(self): Counted.alive -= 1
one, two = Counted(), Counted(); one.n = 1
++
del two
import gc; gc.collect();
--
assert Counted.alive == 1, Counted.alive
del one
import gc; gc.collect(); assert Counted.alive == 0, Counted.alive
== a context that is entered, and a stack of them
import contextlib
log = []
@contextlib.contextmanager
def noisy(n):
    log.append(f"in {n}")
    yield n
    log.append(f"out {n}")
class Resource:
    def __enter__(self): log.append("open"); return self
    def __exit__(self, *exc): log.append("close")
    def __setstate__(self, s): pass
stack = contextlib.ExitStack(); r = stack.enter_context(Resource()); stack.callback(log.append, "last")
--
assert log == ["open"], log
stack.close(); assert log == ["open", "last", "close"], log
with noisy(1): pass
assert log[-2:] == ["in 1", "out 1"]
""",
)
