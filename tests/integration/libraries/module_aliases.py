"""Names that are bound to an object which a module owns: `from random import seed`, `from os import environ` ..."""

from .case import read

CASES = read(
    "aliases",
    r"""
== methods of random's own generator
import random
from random import seed, randint, shuffle
--
random.seed(7); a = randint(0, 10**9); random.seed(7); b = randint(0, 10**9)
assert a == b, "randint does not follow random.seed"
seed(3); x = random.random(); seed(3); assert random.random() == x, "seed does not seed the module's generator"
assert randint.__self__ is random.seed.__self__
== os.environ
import os
from os import environ
environ['BQ_A'] = '1'
--
environ['BQ_B'] = '2'
assert os.environ.get('BQ_B') == '2', "environ is another mapping than os.environ"
assert environ is os.environ and os.environ['BQ_A'] == '1'
== sys.path
import sys
from sys import path
path.append('/bq/one')
--
path.append('/bq/two')
assert '/bq/two' in sys.path, "path is another list than sys.path"
== the decimal context
import decimal
ctx = decimal.getcontext(); ctx.prec = 11
--
ctx.prec = 5
assert str(decimal.Decimal(1) / 3) == '0.33333', str(decimal.Decimal(1) / 3)
== settings of a module in the workspace
open('bqsettings.py','w').write('CONFIG = {}\ndef level(): return CONFIG.get("level")\n')
++
import bqsettings
from bqsettings import CONFIG
CONFIG['level'] = 3
--
CONFIG['level'] = 4
assert bqsettings.level() == 4, f"CONFIG is another dict than bqsettings.CONFIG: {bqsettings.level()}"
== settings that a function and an object of a module hold
open("bqapp.py", "w").write("class App:\n    def __init__(self): self.routes = []\n    def route(self, f): self.routes.append(f); return f\napp = App()\nregistry = {}\ndef register(f): registry[f.__name__] = f; return f\n")
++
import bqapp
from bqapp import app, register, registry
@app.route
def index(): return "i"
@register
def task(): return "t"
held = {"app": app}
--
assert app is bqapp.app is held["app"] and registry is bqapp.registry, "the names are of other objects than the module's"
assert [f.__name__ for f in app.routes] == ["index"] and app.routes[0] is index and registry["task"] is task
== a logger, its handler and its level
import logging
log = logging.getLogger('bq'); h = logging.StreamHandler(); log.addHandler(h); log.setLevel('DEBUG')
--
assert log is logging.getLogger('bq') and log.level == logging.DEBUG and h in log.handlers, (log.level, log.handlers)
== streams, modules and flags of sys
import sys
from sys import stdout, stderr, modules, argv, meta_path, flags, version_info
out = [stdout]
--
assert modules is sys.modules and argv is sys.argv and meta_path is sys.meta_path and flags is sys.flags and version_info is sys.version_info
assert stdout is sys.stdout and out[0] is sys.stdout and stderr is sys.stderr
== warnings, signals and types of modules
import warnings, collections.abc, typing, types, mimetypes
from warnings import filters
from mimetypes import types_map
from typing import Any, Optional
from types import NoneType
null = NoneType; kinds = [Any, Optional[int], collections.abc.Mapping]
--
warnings.simplefilter("ignore", ResourceWarning)
assert filters is warnings.filters, "filters is another list than warnings.filters"
assert null is type(None) and kinds[0] is typing.Any and kinds[2] is collections.abc.Mapping and types_map is mimetypes.types_map
== threads and caches that modules own [or loses: main, here]
import threading, functools, zoneinfo
main = threading.main_thread(); here = threading.current_thread(); berlin = zoneinfo.ZoneInfo("Europe/Berlin"); null = functools.partial
--
assert main is threading.main_thread() and here is threading.current_thread() and berlin is zoneinfo.ZoneInfo("Europe/Berlin")
-- told
assert berlin is zoneinfo.ZoneInfo("Europe/Berlin") and null is functools.partial
== a codec
import codecs, json
found = codecs.lookup("utf-8"); encode = codecs.getencoder("latin-1"); make = json.encoder.c_make_encoder
--
assert found.name == "utf-8" and encode("a")[0] == b"a" and make is json.encoder.c_make_encoder
== the registry of pickle
import copyreg
from copyreg import dispatch_table
class P:
    def __init__(self, v): self.v = v
copyreg.pickle(P, lambda p: (P, (p.v,)))
p = P(4)
--
assert dispatch_table is copyreg.dispatch_table and P in dispatch_table, "a reducer that was registered is gone"
assert p.v == 4
== bound methods and functions of builtin modules
import math, os, sys, time, itertools, operator
from math import sqrt
from os import getcwd, path
from operator import itemgetter
from builtins import print as show
first = itemgetter(0); add = sys.path.append; upper = str.upper; tick = time.monotonic; chain = itertools.chain.from_iterable
--
assert sqrt is math.sqrt and getcwd is os.getcwd and path is os.path and show is print and first([7]) == 7 and upper("a") == "A" and list(chain([[1], [2]])) == [1, 2]
add("/bq/three"); assert "/bq/three" in sys.path, "the method is another list's"
== an object that a library keeps, by a name and in an object
import logging, calendar
root = logging.getLogger(); last = logging.lastResort; names = calendar.month_name
class Service:
    log = logging.getLogger("svc.part")
    def __init__(self): self.log2 = self.log
s = Service()
--
assert root is logging.getLogger() and s.log2 is Service.log is logging.getLogger("svc.part") and last is logging.lastResort and names is calendar.month_name
""",
)
