"""Absolute paths of the session's directory, modules of files in it, modules loaded by path, and modules made by hand."""

from .case import read

LIB = "import os\nos.makedirs('lib', exist_ok=True)\nopen('lib/bqhelper.py','w').write('class Thing:\\n    v = 3\\ndef f(): return 4\\n')\n++"

CASES = read(
    "paths and modules",
    r"""
== an absolute entry of sys.path
LIB
import sys
sys.path.insert(0, os.path.abspath('lib'))
import bqhelper
from bqhelper import Thing, f
thing = Thing(); table = {'t': [thing]}
--
import importlib
assert thing.v == 3 and f() == 4 and isinstance(table['t'][0], Thing) and bqhelper.f is f
== a relative entry of sys.path
LIB
import sys
sys.path.insert(0, 'lib')
import bqhelper
thing = bqhelper.Thing()
--
assert thing.v == 3 and bqhelper.f() == 4
== absolute paths in variables
import pathlib
pathlib.Path('data.csv').write_text('a,b')
p = pathlib.Path('data.csv').resolve(); text = str(p)
--
assert p.read_text() == 'a,b' and open(text).read() == 'a,b', (str(p), str(pathlib.Path.cwd()))
== the absolute path of the directory [except: forked]
import pathlib
pathlib.Path('data.csv').write_text('a,b')
p = pathlib.Path('data.csv').resolve(); here = pathlib.Path.cwd()
--
assert p.read_text() == 'a,b' and here == pathlib.Path.cwd(), (str(p), str(pathlib.Path.cwd()))
== a module of a specification
LIB
import importlib.util
spec = importlib.util.spec_from_file_location('bqplugin', 'lib/bqhelper.py')
plugin = importlib.util.module_from_spec(spec); spec.loader.exec_module(plugin)
t = plugin.Thing(); g = plugin.f
--
assert t.v == 3 and g() == 4 and plugin.f is g and isinstance(t, plugin.Thing)
== a module of a specification, in sys.modules
LIB
import importlib.util, sys
spec = importlib.util.spec_from_file_location('bqplugin', 'lib/bqhelper.py')
plugin = importlib.util.module_from_spec(spec); sys.modules['bqplugin'] = plugin; spec.loader.exec_module(plugin)
t = plugin.Thing()
--
assert t.v == 3 and isinstance(t, plugin.Thing)
== a module that was edited
open('bqmod.py','w').write('class Old: v = 1\ndef f(): return 1\n')
import bqmod
old = bqmod.Old()
++
open('bqmod.py','w').write('def f(): return 22222\n')
--
assert type(old).v == 1 and bqmod.f() == 1
== a module that was edited and reloaded
open('bqmod2.py','w').write('def f(): return 1\n')
import bqmod2, importlib
++
open('bqmod2.py','w').write('def f(): return 2 + 2\n')
importlib.reload(bqmod2)
assert bqmod2.f() == 4
--
assert bqmod2.f() == 4
== a module half-way through an edit
import os, math, pathlib
pathlib.Path("helper.py").write_text("V = 1\n")
import helper
x, name, data = 5, "kept?", [1, 2, 3]
++
pathlib.Path("helper.py").write_text("V = (1\n");
--
assert (x, name, data) == (5, "kept?", [1, 2, 3]) and os.sep == "/" and math.pi > 3 and helper.V == 1
== a module in sys.modules only
import sys, types
m = types.ModuleType('bqhand'); m.x = 5; sys.modules['bqhand'] = m; del m
def get():
    import bqhand
    return bqhand.x
--
assert get() == 5
== a subclass of modules
import types
class Lazy(types.ModuleType):
    def __getattr__(self, n): return n.upper()
lazy = Lazy('bqlazy'); lazy.a = [1]
--
assert lazy.a == [1] and lazy.zz == 'ZZ'
== a module whose file is gone
import os
open('bqgone.py','w').write('def f(): return 1\n')
import bqgone
from bqgone import f
keep=[1]
++
os.remove('bqgone.py')
--
assert keep == [1] and f() == 1 and bqgone.f is f
== the working directory and the environment [except: forked]
import os
os.makedirs('sub', exist_ok=True)
os.chdir('sub')
os.environ['BQ_HOME'] = os.getcwd()
--
assert os.environ['BQ_HOME'] == os.getcwd(), (os.environ['BQ_HOME'], os.getcwd())
== classes and functions of a module in the workspace
open('mymod.py','w').write('X = 1\nclass K:\n    v = 2\ndef f(): return X\n')
import mymod
mymod.X = 5
k = mymod.K()
--
assert mymod.f() in (1, 5) and k.v == 2 and type(k) is mymod.K
== the path of a module, of a file and of a temporary directory in it
import os, pathlib, tempfile, sys
open("bqwhere.py", "w").write("HERE = __file__\n")
import bqwhere
tmp = tempfile.mkdtemp(dir=os.getcwd()); pathlib.Path(tmp, "f").write_text("x"); entry = [p for p in sys.path if p in ("", os.getcwd())]
--
assert os.path.exists(bqwhere.HERE if os.path.isabs(bqwhere.HERE) else os.path.abspath(bqwhere.HERE)) and pathlib.Path(tmp, "f").read_text() == "x"
== an open archive of modules
import zipfile, sys, os
with zipfile.ZipFile("mods.zip", "w") as z: z.writestr("bqzip.py", "def f(): return 'z'\n")
sys.path.insert(0, os.path.abspath("mods.zip"))
import bqzip
g = bqzip.f
--
assert bqzip.f() == "z" and g is bqzip.f
== a class of a module that replaced itself
open("bqself.py", "w").write("import sys\nclass Facade:\n    def __init__(self): self.n = [1]\n    def hello(self): return 'h'\nsys.modules[__name__] = Facade()\n")
import bqself
kept = [2]
--
assert kept == [2] and bqself.hello() == "h" and bqself.n == [1]
== code that was executed in a dictionary
ns = {"__name__": "bqns"}; exec("class K:\n    v = 3\ndef f(): return K().v\nk = K()", ns); k, f, K = ns["k"], ns["f"], ns["K"]
--
assert f() == 3 and type(k) is K and ns["K"] is K and ns["k"] is k
== code that was executed with the builtins' module
def helper(): return 42
class Plain: v = 5
plain = Plain()
import builtins
ns = {'__builtins__': builtins}; exec('def g(): return len([1])', ns); g = ns['g']
--
assert helper() == 42 and plain.v == 5 and g() == 1
== a function with a copy of the namespace
import types
n = 1
def f(): return n
g = types.FunctionType(f.__code__, dict(globals()), "g"); kept = [1]
--
n = 2
assert f() == 2 and kept == [1] and g() == 1
""".replace("LIB\n", LIB + "\n"),
)
