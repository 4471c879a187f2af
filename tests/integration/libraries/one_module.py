"""One module that can't be imported again costs its own name, and none of the other variables."""

from .case import read

VALUES = "limit = 5; name = 'bob'; pair = (1, 2); rate = 0.5; nothing = None\nrows = [1, 2]; conf = {'a': 1}\ndef f(): return limit\n++"
USE = "assert rows == [1, 2] and conf == {'a': 1}, 'lists'\nassert (limit, name, pair, rate, nothing) == (5, 'bob', (1, 2), 0.5, None) and f() == 5"

CASES = read(
    "one module",
    r"""
== of the working directory
VALUES
import sys, os
open('bqutil.py','w').write('x = 1\n')
sys.path.insert(0, os.getcwd())
sys.path.remove('')
import bqutil
--
USE
assert bqutil.x == 1
== of an absolute directory
VALUES
import sys, os
os.makedirs('src')
open('src/bqutil2.py','w').write('x = 1\n')
sys.path.append(os.path.abspath('src'))
import bqutil2 as u
--
USE
assert u.x == 1
== whose file was removed
VALUES
import os
open('bqtmp.py','w').write('x = 1\n')
import bqtmp
++
os.remove('bqtmp.py')
--
USE
assert bqtmp.x == 1
== whose directory was removed [or loses: bqgen]
VALUES
import sys, tempfile, pathlib, shutil
d = tempfile.mkdtemp(); pathlib.Path(d, 'bqgen.py').write_text('x = 1')
sys.path.insert(0, d)
import bqgen
shutil.rmtree(d)
--
USE
assert bqgen.x == 1
-- told
USE
== loaded by its path
VALUES
import importlib.util
open('bqp.py','w').write('x = 1')
spec = importlib.util.spec_from_file_location('plug', 'bqp.py'); plug = importlib.util.module_from_spec(spec); spec.loader.exec_module(plug); del spec
--
USE
assert plug.x == 1
== of the library, imported again
VALUES
import sys
sys.modules.pop('colorsys', None)
import colorsys
--
USE
assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
== that refuses to be imported twice [or loses: bqneeds]
VALUES
import os
os.environ['BQ_TOKEN'] = 'x'
open('bqneeds.py','w').write('import os\nassert not os.path.exists("started"), "already started"\nopen("started", "w").close()\n')
import bqneeds
--
USE
-- told
USE
== that ends its process when it is imported again [or loses: bqexit, K, k, table]
VALUES
open("bqexit.py", "w").write("import os\nif os.path.exists('once'): os._exit(3)\nopen('once', 'w').close()\nclass K: v = 1\n")
import bqexit
from bqexit import K
k = K(); table = {"k": k}
--
USE
assert type(k) is K is bqexit.K and table["k"] is k
-- told
USE
== that waits forever when it is imported again [or loses: bqhang, g]
VALUES
open("bqhang.py", "w").write("import os, threading\nif os.path.exists('once'): threading.Event().wait()\nopen('once', 'w').close()\ndef g(): return 1\n")
import bqhang
from bqhang import g
--
USE
assert g() == 1 and bqhang.g is g
-- told
USE
== that needs another one that is gone [or loses: bqtop, made]
VALUES
import os
open("bqlow.py", "w").write("class Low: v = 1\n"); open("bqtop.py", "w").write("from bqlow import Low\ndef make(): return Low()\n")
import bqtop
made = bqtop.make()
++
os.remove("bqlow.py")
--
USE
assert made.v == 1 and type(bqtop.make()) is type(made)
-- told
USE
""".replace("VALUES\n", VALUES + "\n").replace("USE\n", USE + "\n"),
)
