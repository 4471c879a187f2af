"""What is around the names: decimal traps, time zone, filters, locale, signal handlers, hooks and registrations."""

from .case import read

CASES = read(
    "ambient",
    r"""
== traps of the decimal context
import decimal
c = decimal.getcontext(); c.traps[decimal.Inexact] = True; c.Emax = 99; del c
--
try: decimal.Decimal(1) / 3
except decimal.Inexact: pass
else: raise AssertionError('Inexact is not trapped any more')
assert decimal.getcontext().Emax == 99
== another decimal context
import decimal
decimal.setcontext(decimal.ExtendedContext)
--
assert str(decimal.Decimal(1) / 0) == 'Infinity'
== the default decimal context, and one of its own
import decimal
decimal.DefaultContext.prec = 7; mine = decimal.Context(prec=4, rounding=decimal.ROUND_UP)
--
assert mine.divide(1, 3) == decimal.Decimal("0.3334") and mine.prec == 4
assert decimal.DefaultContext.prec == 7, "the default context is the first one again"
== the time zone
import os, time
os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()
import datetime
hour = datetime.datetime.fromtimestamp(0).hour
--
assert hour == 9 and datetime.datetime.fromtimestamp(0).hour == 9, datetime.datetime.fromtimestamp(0).hour
== filters of every category
import warnings
class Own(UserWarning): pass
warnings.simplefilter('error', Own)
import pandas as pd
warnings.simplefilter('ignore', pd.errors.PerformanceWarning)
warnings.simplefilter('error', DeprecationWarning)
--
try: warnings.warn('x', DeprecationWarning)
except DeprecationWarning: pass
else: raise AssertionError('builtin category')
assert any(f[2] is pd.errors.PerformanceWarning for f in warnings.filters), 'library category'
try: warnings.warn('x', Own)
except Own: pass
else: raise AssertionError('own category')
== a filter for all warnings
import warnings
warnings.simplefilter('error')
--
import warnings
try: warnings.warn('x')
except UserWarning: pass
else: raise AssertionError("the filter is undone")
== filters of a while, and what shows warnings
import warnings
seen = []
with warnings.catch_warnings(): warnings.simplefilter("error"); inside = len(warnings.filters)
warnings.filterwarnings("ignore", message="quiet.*", module="here"); warnings.showwarning = lambda *a, **k: seen.append(str(a[0]))
--
assert any(f[1] is not None and f[1].pattern.startswith("quiet") for f in warnings.filters), warnings.filters[:3]
warnings.warn("loud"); assert seen == ["loud"], "showwarning is the library's again"
== locale, mask and signal handlers
import locale, os, signal
locale.setlocale(locale.LC_ALL, 'C.UTF-8'); os.umask(0o077)
got = []
signal.signal(signal.SIGUSR1, lambda *a: got.append(1));
--
open('u','w').close(); assert oct(os.stat('u').st_mode & 0o777) == '0o600', 'umask'
os.kill(os.getpid(), signal.SIGUSR1); import time; time.sleep(.05); assert got == [1], 'signal handler'
== a virtual subclass of the library's abstract classes
import collections.abc, numbers
@collections.abc.Sequence.register
class Row:
    def __len__(self): return 0
class Num: pass
numbers.Number.register(Num)
row = Row()
--
assert isinstance(row, collections.abc.Sequence), 'Sequence.register is undone'
assert issubclass(Num, numbers.Number)
== a method of a library's class that was replaced
import functools, json, copyreg
class P:
    def __init__(self, v): self.v = v
class Enc(json.JSONEncoder):
    def default(self, o): return o.v if isinstance(o, P) else super().default(o)
json.JSONEncoder.default = Enc.default
p = P(3)
--
assert json.dumps(p) == '3'
== functions of a library that were replaced
import math
math.tau2 = 7
import json
_old = json.dumps
json.dumps = lambda o: 'patched'
--
import json, math
assert math.tau2 == 7 and json.dumps(1) == 'patched'
== a function that was registered with a library's generic one
import functools, pprint, reprlib
from importlib import resources
class P: pass
@functools.singledispatch
def show(o): return "any"
@show.register
def _(o: P): return "P"
import pkgutil
p = P()
--
assert show(p) == "P" and show(1) == "any" and p is not None
== a name in builtins
import builtins
builtins.bq_debug = lambda *a: 'dbg'
def f(): return bq_debug(1)
--
assert f() == 'dbg'
== another name in builtins
import builtins
builtins.myhelper = lambda: 3
--
assert myhelper() == 3
== a builtin that was replaced
import builtins
real = print
def loud(*a, **k): real('!', *a, **k)
builtins.print = loud
print('x')
--
assert print is loud and real is not loud
== a codec that was registered
import codecs, sys
def find(n): return codecs.CodecInfo(lambda s, e='strict': (s[::-1].encode(), len(s)), lambda b, e='strict': (bytes(b).decode()[::-1], len(b)), name='bqrev') if n == 'bqrev' else None
codecs.register(find)
assert 'abc'.encode('bqrev') == b'cba'
--
assert 'abc'.encode('bqrev') == b'cba'
== a hook of imports, and a module of it
import sys, importlib.abc, importlib.util
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None): return importlib.util.spec_from_loader(name, self) if name == 'bqvirtual' else None
    def create_module(self, spec): return None
    def exec_module(self, m): m.x = 9
sys.meta_path.insert(0, Finder())
import bqvirtual
from bqvirtual import x
--
assert x == 9 and bqvirtual.x == 9
== odd entries of sys.path
import sys, pathlib
class S(str): pass
sys.path.append(pathlib.Path('/bq')); sys.path.append(S('/bq2'))
v = [1]
--
assert v == [1] and '/bq2' in sys.path
== a class of texts on sys.path, beside others
data = [1, 2]; n = 5
++
import sys
class Marked(str): pass
sys.path.append(Marked("/opt/extra"))
--
assert data == [1, 2] and n == 5 and "/opt/extra" in sys.path
== the environment, sys.path, the working directory
import os, sys
os.environ['QQ'] = '5'; sys.path.append('/tmp/qq'); os.makedirs('sub', exist_ok=True); os.chdir('sub')
--
import os, sys
assert os.environ['QQ'] == '5' and '/tmp/qq' in sys.path and os.getcwd().endswith('/sub')
== the limit of recursion
import sys
sys.setrecursionlimit(5000)
--
import sys
assert sys.getrecursionlimit() == 5000
== the configuration of logging
import logging
log = logging.getLogger('app'); log.setLevel(logging.DEBUG); h = logging.StreamHandler(); log.addHandler(h)
--
assert log.level == logging.DEBUG and log.handlers == [h]
== a logger with handlers, filters and formats of cells
import logging
class Kept(logging.Handler):
    def __init__(self): super().__init__(); self.lines = []
    def emit(self, record): self.lines.append(self.format(record))
log = logging.getLogger("own.part"); kept = Kept(); kept.setFormatter(logging.Formatter("%(levelname)s %(message)s")); log.addHandler(kept); log.setLevel(logging.INFO); log.propagate = False; log.addFilter(lambda r: "no" not in r.msg); logging.addLevelName(25, "NOTE"); log.info("one")
--
log.info("two"); log.info("no"); log.debug("three"); log.log(25, "four")
assert kept.lines == ["INFO one", "INFO two", "NOTE four"], kept.lines
assert logging.getLogger("own.part") is log and log.propagate is False
== hooks of the interpreter
import sys, threading
seen = []
sys.unraisablehook = lambda u: seen.append(type(u.exc_value).__name__); threading.excepthook = lambda a: seen.append(a.exc_type.__name__); sys.breakpointhook = lambda *a: seen.append("break")
--
breakpoint()
def fails(): raise KeyError("k")
t = threading.Thread(target=fails); t.start(); t.join(); del t
assert seen == ["break", "KeyError"], seen
== the switch interval, the garbage collector and other numbers
import sys, gc, threading, socket, random
sys.setswitchinterval(0.02); gc.set_threshold(500, 5, 5); threading.stack_size(1 << 20); socket.setdefaulttimeout(7); sys.set_int_max_str_digits(10_000); random.seed(3); random.random(); state = random.getstate()
--
assert random.getstate() == state, "random goes on elsewhere"
assert socket.getdefaulttimeout() == 7, "the timeout of sockets"
assert sys.get_int_max_str_digits() == 10_000, "the limit of digits"
assert gc.get_threshold() == (500, 5, 5) or sys.version_info >= (3, 14), "the thresholds of gc"
assert abs(sys.getswitchinterval() - 0.02) < 1e-6, "the switch interval"
== dialects, converters and other registrations of the standard library
import csv, sqlite3, mimetypes, shutil, codecs
csv.register_dialect("semi", delimiter=";"); csv.field_size_limit(300_000); mimetypes.add_type("text/x-own", ".own"); sqlite3.register_adapter(complex, lambda c: f"{c.real},{c.imag}"); codecs.register_error("star", lambda e: ("*", e.end))
--
assert csv.get_dialect("semi").delimiter == ";" and csv.field_size_limit() == 300_000, "csv"
assert mimetypes.guess_type("a.own")[0] == "text/x-own", "mimetypes"
assert "é".encode("ascii", "star") == b"*", "codecs.register_error"
assert sqlite3.connect(":memory:").execute("select ?", (1 + 2j,)).fetchone() == ("1.0,2.0",), "sqlite3.register_adapter"
""",
)
