"""Objects that library modules own and cells refer to, and changes of cells to libraries."""

from .cases import read

CASES = read(
    "library state",
    r"""
== functions of a generator that a module hides
import random
from random import seed, randint, shuffle
--
random.seed(7); a = randint(0, 10**9); random.seed(7); b = randint(0, 10**9)
assert a == b and randint.__self__ is random.seed.__self__ is shuffle.__self__
== functions of a generator that NumPy hides [needs: numpy]
import numpy as np
from numpy.random import seed, randint
--
np.random.seed(7); a = randint(0, 10**6); np.random.seed(7); b = randint(0, 10**6)
assert a == b
== the decimal context in a name
import decimal
ctx = decimal.getcontext(); ctx.prec = 11; other = decimal.Context(prec=7)
--
ctx.prec = 5
assert str(decimal.Decimal(1) / 3) == "0.33333" and ctx is decimal.getcontext() and other.prec == 7
== a method of a library class
import json
class P:
    def __init__(self, v): self.v = v
class Enc(json.JSONEncoder):
    def default(self, o): return o.v if isinstance(o, P) else super().default(o)
json.JSONEncoder.default = Enc.default
p = P(3)
--
assert json.dumps(p) == "3"
== virtual subclasses of library classes
import collections.abc, numbers
@collections.abc.Sequence.register
class Row:
    def __len__(self): return 0
class Num: pass
numbers.Number.register(Num)
row = Row()
--
assert isinstance(row, collections.abc.Sequence) and issubclass(Num, numbers.Number)
== submodules by their full names
import http.server, email.mime.text, json.tool, importlib.metadata, wsgiref.simple_server, concurrent.futures, multiprocessing.pool
--
assert http.server.HTTPServer and email.mime.text.MIMEText and json.tool.main and importlib.metadata.version
assert wsgiref.simple_server.WSGIServer and concurrent.futures.Future and multiprocessing.pool.ThreadPool
== what modules of the standard library own, wherever it is held
import os, sys, random, dataclasses, inspect, logging, threading, warnings
from random import _inst
from inspect import _empty
from dataclasses import MISSING
from sys import modules, meta_path
from logging import root
table = {'env': os.environ, 'p': [sys.path, sys.modules]}
class C:
    env = os.environ
    def __init__(self): self.path = sys.path
c = C()
def deff(p=sys.path): return p
def clos():
    e = os.environ
    return lambda: e
cl = clos()
main_thread = threading.main_thread()
rnd = random.random; gs = random.getrandbits
ns = globals(); jd = __import__('json').__dict__
flt = warnings.filters
--
import os, sys, random, inspect, dataclasses, logging, threading, json, warnings
assert _inst is random._inst and _empty is inspect._empty and MISSING is dataclasses.MISSING and modules is sys.modules and meta_path is sys.meta_path and root is logging.root
assert table['env'] is os.environ and table['p'][0] is sys.path and table['p'][1] is sys.modules and C.env is os.environ and c.path is sys.path and deff() is sys.path and cl() is os.environ
assert main_thread is threading.main_thread()
random.seed(3); a = rnd(); random.seed(3); assert a == random.random()
assert ns is globals() and jd is json.__dict__ and flt is warnings.filters
== what libraries own, and classes that name a module which is not loaded [needs: numpy, pandas, attr, torch, matplotlib]
import numpy as np, pandas as pd, attr, torch, matplotlib
matplotlib.use('Agg')
from attrs import NOTHING
from torch import default_generator as dg
from matplotlib import colormaps
from numpy.random import rand, RandomState, default_rng
opts = pd.options
rec = np.recarray; kinds = [np.matrix, np.recarray]
r = np.rec.array([(1, 2.)], dtype=[('a', int), ('b', float)])
--
import attrs
assert NOTHING is attrs.NOTHING and dg is torch.default_generator and colormaps is matplotlib.colormaps and opts is pd.options
np.random.seed(1); a = rand(); np.random.seed(1); assert a == rand()
assert rec is np.recarray and kinds == [np.matrix, np.recarray]
== submodules imported in other ways
import xml
from xml import dom
import concurrent
def f():
    import importlib
    importlib.import_module('concurrent.futures')
    return concurrent.futures.Future
f()
import email as em
import email.mime.text
--
assert xml.dom is dom and concurrent.futures.Future and em.mime.text.MIMEText
== a submodule of a package that was there before
import xml; keep = 1
++
import xml.sax.saxutils
++
pass
--
assert xml.sax.saxutils.escape('<') == '&lt;'
== attributes of libraries that cells set, replaced and deleted
import json, os.path, pathlib
json.mine = [1]; mine = json.mine
os.path.hello = lambda: 'hi'
pathlib.PurePath.size3 = property(lambda s: 3)
setattr(json, 'by_setattr', {'a': 1})
del json.load
++
import colorsys
_old = colorsys.rgb_to_hsv
colorsys.rgb_to_hsv = lambda *a: ('mine', _old(*a))
from unittest import mock
mock.patch('json.loads', lambda s: 'patched').start()
with mock.patch('json.dumps', lambda s: 'temp'): pass
--
import json, os, pathlib, colorsys
assert json.mine is mine and os.path.hello() == 'hi' and pathlib.Path('x').size3 == 3 and json.by_setattr == {'a': 1} and not hasattr(json, 'load')
assert colorsys.rgb_to_hsv(1, 1, 1)[0] == 'mine' and json.loads('1') == 'patched' and json.dumps(1) == '1'
assert _old(1, 1, 1) == (0.0, 0.0, 1) and _old.__module__ == 'colorsys'
== attributes of libraries that a module of the session sets
open('inst.py','w').write('import textwrap, http.client\ndef install():\n    textwrap.extra9 = 5\n    http.client.HTTPConnection.hey = lambda self: "hey"\n')
import inst
inst.install()
--
import textwrap, http.client
assert textwrap.extra9 == 5 and http.client.HTTPConnection('x').hey() == 'hey'
== an attribute that was put back
import json
_o = json.dumps
json.dumps = lambda o: 1
++
json.dumps = _o
--
assert json.dumps([1]) == '[1]' and json.dumps is _o
== items that cells change in containers of libraries
import tarfile, urllib.parse, http.cookies, html.entities
from html.entities import name2codepoint as codes
class Opener: pass
def opened(*a): return 'mine'
opener = Opener()
++
tarfile.TarFile.OPEN_METH['x'] = opener
codes['mine'] = opened; del codes['AElig']; codes.update(other=[1], **{'two words': 2}); codes['lt'] = 1
urllib.parse.uses_netloc.append('mine'); urllib.parse.uses_relative.remove('ftp')
http.cookies.Morsel._flags |= {'mine'}
http.cookies.Morsel._flags.discard('secure')
++
codes['later'] = opened
alias = codes; alias['again'] = opener
--
import tarfile, urllib.parse, http.cookies, html.entities
assert tarfile.TarFile.OPEN_METH['x'] is opener and tarfile.TarFile.OPEN_METH['gz'] == 'gzopen'
found = html.entities.name2codepoint
assert found is codes is alias and found['mine'] is opened is found['later'] and found['again'] is opener
assert 'AElig' not in found and found['other'] == [1] and found['two words'] == 2 and found['lt'] == 1 and found['gt'] == 62
assert urllib.parse.uses_netloc[-1] == 'mine' and urllib.parse.uses_netloc.count('mine') == 1
assert 'ftp' not in urllib.parse.uses_relative and 'http' in urllib.parse.uses_relative
assert http.cookies.Morsel._flags == {'mine', 'httponly'}
== items that a cell changes in a library that it imports itself
import imaplib
def command(*a): return 'mine'
imaplib.Commands['MINE'] = command; imaplib.Commands['PLAIN'] = ('AUTH',); imaplib.Commands.pop('NOOP')
imaplib.Commands.update({'A': command}, B=('AUTH',))
def later(): imaplib.Commands['LATER'] = 1
++
later()
--
import imaplib
assert imaplib.Commands['MINE'] is command is imaplib.Commands['A'] and imaplib.Commands['PLAIN'] == ('AUTH',)
assert imaplib.Commands['B'] == ('AUTH',) and imaplib.Commands['LATER'] == 1
assert 'NOOP' not in imaplib.Commands and 'SELECT' in imaplib.Commands
== items of libraries that a module of the session changes
open('put.py','w').write('import html.entities\ndef mine(): return 1\nhtml.entities.codepoint2name[-1] = mine\n')
import put
--
import html.entities
assert html.entities.codepoint2name[-1] is put.mine
== reducers and virtual subclasses
import functools, copyreg, numbers, json
import pprint, importlib.resources
class P: pass
class Q:
    def __init__(self, v): self.v = v
copyreg.pickle(Q, lambda q: (Q, (q.v + 100,)))
numbers.Real.register(P)
import collections.abc
collections.abc.Hashable.register(P)
--
import copyreg, pickle
assert issubclass(P, numbers.Real) and pickle.loads(pickle.dumps(Q(1))).v == 101
== accessors of frames [needs: pandas, polars]
import pandas as pd, polars as pl
@pd.api.extensions.register_series_accessor('mine')
class S:
    def __init__(self, o): self.o = o
    def n(self): return len(self.o)
@pl.api.register_expr_namespace('greet')
class Gr:
    def __init__(self, e): self._e = e
    def hi(self): return self._e + 1
++
from pandas.api.extensions import register_dataframe_accessor
@register_dataframe_accessor('geo2')
class G2:
    def __init__(self, o): self.o = o
    def k(self): return 2
--
import pandas as pd, polars as pl
assert pd.Series([1,2]).mine.n() == 2 and pd.DataFrame().geo2.k() == 2 and 'geo2' in dir(pd.DataFrame())
assert hasattr(pl.col('a'), 'greet')
""",
)
