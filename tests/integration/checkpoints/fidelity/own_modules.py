"""Modules of the session's own: files in its directory, and modules that no other process could import."""

from .cases import read

CASES = read(
    "own modules",
    r"""
== a module that was edited since
open("edited_mine.py", "w").write("class Old: v = 1\ndef f(): return 1\n")
import edited_mine
old = edited_mine.Old()
++
open("edited_mine.py", "w").write("def f(): return 22222\n")
--
assert type(old).v == 1 and edited_mine.f() == 1
== a module that was edited and reloaded
open("reloaded_mine.py", "w").write("def f(): return 1\n")
import reloaded_mine, importlib
++
open("reloaded_mine.py", "w").write("def f(): return 2 + 2\n"); importlib.reload(reloaded_mine)
--
assert reloaded_mine.f() == 4
== a module whose file was deleted
import os
open("deleted_mine.py", "w").write("def f(): return 1\n")
import deleted_mine
from deleted_mine import f
++
os.remove("deleted_mine.py")
--
assert f() == 1 and deleted_mine.f is f
== a module that can't be imported twice
import os
open("once_mine.py", "w").write("import os\nassert not os.path.exists('started')\nopen('started', 'w').close()\n")
import once_mine; limit = 5
--
assert limit == 5 and once_mine.os is os
== a module loaded by path
import importlib.util, os
os.makedirs("lib"); open("lib/by_path_mine.py", "w").write("class Thing:\n    v = 3\ndef f(): return 4\n")
spec = importlib.util.spec_from_file_location("plugin_mine", "lib/by_path_mine.py")
plugin = importlib.util.module_from_spec(spec); spec.loader.exec_module(plugin)
t = plugin.Thing(); g = plugin.f
--
assert t.v == 3 and g() == 4 and plugin.f is g and isinstance(t, plugin.Thing)
== a module loaded by path and known to imports
import importlib.util, sys
open("known_mine.py", "w").write("class Thing:\n    v = 3\n")
spec = importlib.util.spec_from_file_location("plugin_known", "known_mine.py")
plugin = importlib.util.module_from_spec(spec); sys.modules["plugin_known"] = plugin; spec.loader.exec_module(plugin)
t = plugin.Thing()
--
import pickle, plugin_known
assert plugin_known is plugin and type(t) is plugin.Thing and type(pickle.loads(pickle.dumps(t))) is plugin.Thing
== a module that no name holds
import sys, types
m = types.ModuleType("hand_mine"); m.x = 5; sys.modules["hand_mine"] = m; del m
def get():
    import hand_mine
    return hand_mine.x
--
assert get() == 5
== a module of a class of its own
import types
class Lazy(types.ModuleType):
    def __getattr__(self, name): return name.upper()
lazy = Lazy("lazy_mine"); lazy.a = [1]
--
assert lazy.a == [1] and lazy.zz == "ZZ" and type(lazy) is Lazy
== a module of an import hook
import sys, importlib.abc, importlib.util
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None): return importlib.util.spec_from_loader(name, self) if name.startswith("virtual_") else None
    def create_module(self, spec): return None
    def exec_module(self, m): m.x = 9
sys.meta_path.insert(0, Finder())
import virtual_mine
from virtual_mine import x
--
import sys, virtual_other
assert x == 9 and virtual_mine.x == 9 and virtual_other.x == 9 and type(sys.meta_path[0]) is Finder
== a dict that a module and a variable hold
open("settings_mine.py", "w").write("CONFIG = {}\ndef level(): return CONFIG.get('level')\n")
import settings_mine
from settings_mine import CONFIG
CONFIG["level"] = 3
++
settings_mine.EXTRA = [CONFIG]
--
CONFIG["level"] += 1
assert settings_mine.level() == 4 and settings_mine.CONFIG is CONFIG is settings_mine.EXTRA[0]
== a module in a temporary directory that is gone
import sys, tempfile, pathlib, shutil
d = tempfile.mkdtemp(); pathlib.Path(d, "temporary_mine.py").write_text("x = 1"); sys.path.insert(0, d)
import temporary_mine
shutil.rmtree(d)
--
assert temporary_mine.x == 1
== a library module that was taken out of sys.modules
import sys, colorsys
del sys.modules["colorsys"]
function = colorsys.rgb_to_hsv
--
assert function(1, 1, 1) == (0.0, 0.0, 1)
== a package of the session, its modules and what was registered with them
import os
os.makedirs('pk/inner', exist_ok=True)
open('pk/__init__.py','w').write('from . import a\nfrom .inner import deep\nREG = {}\ndef reg(n):\n    def d(f): REG[n] = f; return f\n    return d\n')
open('pk/a.py','w').write('import pk\nfrom urllib import parse\nimport xml.dom.minidom\nclass A:\n    n = 0\n    def up(self): type(self).n += 1; return type(self).n\ndef back(): return pk.REG\n')
open('pk/inner/__init__.py','w').write('')
open('pk/inner/deep.py','w').write('from ..a import A\nclass B(A):\n    pass\ndef doc(): \n    import pk.a\n    return pk.a.xml.dom.minidom\n')
++
import pk, pk.inner.deep
from pk.inner.deep import B
b = B(); b.up()
@pk.reg('x')
def mine(): return 5
--
import sys
assert b.up() == 2 and isinstance(b, pk.a.A) and type(b) is B is pk.inner.deep.B and pk.a.back() is pk.REG and pk.REG['x'] is mine
assert sys.modules['pk.inner.deep'] is pk.inner.deep and pk.inner.deep.doc().parseString
open('pk/late.py','w').write('from . import a\nL = a.A')
import pk.late
assert pk.late.L is pk.a.A
import pickle, inspect
assert type(pickle.loads(pickle.dumps(b))) is B and 'class B' in inspect.getsource(B) and 'def reg' in inspect.getsource(pk.reg)
== a package without a file of its own
import os
os.makedirs('nsp/sub')
open('nsp/sub/m.py','w').write('X=[1]\ndef f(): return X')
import nsp.sub.m
from nsp.sub.m import X, f
--
X.append(2); assert nsp.sub.m.f() == [1, 2] and f() is X
open('nsp/sub/n.py','w').write('Y=3'); import nsp.sub.n; assert nsp.sub.n.Y == 3
== a module that opens a connection is imported again, and has its other state
open('db1.py','w').write('import sqlite3, threading\nconn = sqlite3.connect(":memory:")\nlock = threading.Lock()\nLEVEL = 1\nSEEN = []\nclass T: pass\ndef q(): return conn.execute("select 5").fetchone()[0]\n')
import db1
from db1 import SEEN
keep = [db1.T()]
++
db1.LEVEL = 7; SEEN.append(1)
def more(): return 8
db1.more = more
--
assert db1.q() == 5 and db1.LEVEL == 7 and db1.SEEN is SEEN == [1] and type(keep[0]) is db1.T and db1.more is more
== a module that only another module imports, half-way through an edit
open('base1.py','w').write('V = 1\ndef f(): return V\n')
open('top1.py','w').write('import base1\ndef g(): return base1.f()\n')
import top1
++
open('base1.py','w').write('V = (')
--
assert top1.g() == 1
import sys; assert sys.modules['base1'] is top1.base1
== a module is reloaded after a restore
open('rl.py','w').write('def f(): return 1\n')
import rl, importlib
old = rl.f
--
open('rl.py','w').write('def f(): return 22\n')
import importlib
assert importlib.reload(rl) is rl and rl.f() == 22 and old() == 1
== modules loaded by path that only a dict holds
import importlib.util
def load(n, v):
    open(n + '.py','w').write(f'V = [{v}]\ndef f(): return V\n')
    spec = importlib.util.spec_from_file_location(n, n + '.py'); m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m); return m
fns = [load('pa', 1).f]
plugins = {n: load(n, i) for i, n in enumerate(['pb', 'pc'])}
b = plugins['pb'].f; V = plugins['pc'].V
--
plugins['pb'].V.append(9); assert b() == [0, 9] and plugins['pb'].f is b and fns[0]() == [1]
V.append(3); assert plugins['pc'].f() == [1, 3]
import sys; assert 'pb' not in sys.modules
== a module that changes its class
open('lz.py','w').write('import sys, types\nclass Lazy(types.ModuleType):\n    @property\n    def now(self): return self.base + 1\nbase = 4\nsys.modules[__name__].__class__ = Lazy\n')
import lz
--
assert lz.now == 5 and type(lz) is lz.Lazy; lz.base = 9; assert lz.now == 10
== a module that answers for its attributes
open('p562.py','w').write('def __getattr__(n):\n    if n == "zz": return 3\n    raise AttributeError(n)\n')
import p562
--
assert p562.zz == 3
== an object in the place of a module
open('cfgi.py','w').write('import sys\nclass Config:\n    def __init__(self): self.level = 1\nsys.modules[__name__] = Config()\n')
import cfgi
cfgi.level = 5
--
import sys
assert cfgi.level == 5 and sys.modules.get('cfgi') is cfgi
import cfgi as again
assert again is cfgi
== a module in an archive of the session
import zipfile, sys
with zipfile.ZipFile('z.zip','w') as z: z.writestr('inzip.py', 'def f(): return 6\nclass K: pass')
sys.path.append('z.zip')
import inzip
k = inzip.K()
--
assert inzip.f() == 6 and type(k) is inzip.K
== all kinds of definitions in a module
open('kinds.py','w').write('''import dataclasses, enum, typing, abc, re, logging, functools, collections, threading
log = logging.getLogger(__name__)
PAT = re.compile('a+')
T = typing.TypeVar('T')
@dataclasses.dataclass
class D:
    x: int = 1
    y: list = dataclasses.field(default_factory=list)
class E(enum.Enum):
    A = 1
class N(typing.NamedTuple):
    a: int
class I(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class G(typing.Generic[T]):
    v: T
class Err(Exception):
    pass
P = collections.namedtuple('P', 'x y')
@functools.lru_cache
def cached(n): return n + 1
def deco(f):
    @functools.wraps(f)
    def w(*a): return f(*a) + OFF
    return w
OFF = 10
@deco
def add(a): return a
_lock = threading.RLock()
_local = threading.local()
''')
import kinds
from kinds import D, E, N, P, Err
vals = [D(3), E.A, N(1), P(1, 2), Err('x'), kinds.G()]
--
kinds.OFF = 20
assert vals[0] == D(3) and vals[1] is E.A is kinds.E.A and vals[2] == N(1) and vals[3] == P(1, 2) and isinstance(vals[4], kinds.Err) and kinds.add(1) == 21 and kinds.cached(1) == 2
class J(kinds.I):
    def f(self): return 1
J()
try: kinds.I(); assert 0
except TypeError: pass
assert kinds.PAT.match('aa') and kinds.log.name == 'kinds' and isinstance(vals[5], kinds.G)
with kinds._lock: pass
== a function whose module is gone
import types
m = types.ModuleType('gone1'); exec('X = 3\ndef f(): return X', m.__dict__); f = m.f; del m
--
assert f() == 3
== a package installed below the directory
import os, sys
os.makedirs('lib/big-1.0.dist-info'); os.makedirs('lib/big')
open('lib/big/__init__.py','w').write('from .x import K\n'); open('lib/big/x.py','w').write('class K:\n    v = 4\n')
sys.path.append('lib')
import big
k = big.K()
--
assert k.v == 4 and type(k) is big.K
""",
)
