"""Modules by their full dotted names, and modules of the workspace: a parent has the children that cells imported."""

from .case import read

CASES = read(
    "dotted modules",
    r"""
== xml.dom.minidom
import xml.dom.minidom
d = xml.dom.minidom.parseString('<a/>')
--
assert xml.dom.minidom.parseString('<b/>').documentElement.tagName == 'b' and d.documentElement.tagName == 'a'
== urllib.request
import urllib.request
--
urllib.request.Request('http://x')
== unittest.mock
import unittest.mock
--
assert unittest.mock.Mock()
== scipy.stats and scipy.optimize
import scipy.stats, scipy.optimize
--
scipy.stats.norm.pdf(0), scipy.optimize.minimize
== sklearn.linear_model and sklearn.datasets
import sklearn.linear_model, sklearn.datasets
--
sklearn.linear_model.Ridge()
== matplotlib.pyplot and matplotlib.patches
import matplotlib.pyplot, matplotlib.patches
--
matplotlib.patches.Circle, matplotlib.pyplot.figure
== http.server, email.mime.text, json.tool, importlib.metadata and wsgiref.simple_server
import http.server, email.mime.text, json.tool, importlib.metadata, wsgiref.simple_server
--
http.server.HTTPServer, email.mime.text.MIMEText, json.tool.main, importlib.metadata.version, wsgiref.simple_server.WSGIServer
== concurrent.futures and concurrent.futures.thread
import concurrent.futures, concurrent.futures.thread
--
concurrent.futures.ThreadPoolExecutor, concurrent.futures.thread.BrokenThreadPool
== numpy.testing, multiprocessing.pool and xml.sax.saxutils
import numpy.testing, multiprocessing.pool, xml.sax.saxutils
--
numpy.testing.assert_equal(1, 1), multiprocessing.pool.ThreadPool, xml.sax.saxutils.escape
== logging.handlers, logging.config and curses.ascii
import logging.handlers, logging.config, curses.ascii
--
logging.handlers.QueueHandler, logging.config.dictConfig, curses.ascii.isalpha
== html.parser, http.cookiejar and urllib.robotparser
import html.parser, http.cookiejar, urllib.robotparser, urllib.error
--
html.parser.HTMLParser, http.cookiejar.CookieJar, urllib.robotparser.RobotFileParser, urllib.error.URLError
== dbm.dumb, sqlite3.dbapi2, ctypes.util and encodings.idna
import dbm.dumb, sqlite3.dbapi2, ctypes.util, encodings.idna
--
dbm.dumb.open, sqlite3.dbapi2.connect, ctypes.util.find_library, encodings.idna.ToASCII
== lxml.etree, PIL.ImageFilter and PIL.ImageOps
import lxml.etree, PIL.ImageFilter, PIL.ImageOps
--
lxml.etree.fromstring("<a/>"), PIL.ImageFilter.BLUR, PIL.ImageOps.invert
== pyarrow.parquet, pandas.tseries.offsets and sqlalchemy.orm
import pyarrow.parquet, pandas.tseries.offsets, sqlalchemy.orm
--
pyarrow.parquet.read_table, pandas.tseries.offsets.Day(), sqlalchemy.orm.Session
== torch.utils.data and torch.distributions
import torch.utils.data, torch.distributions.normal
--
torch.utils.data.DataLoader, torch.distributions.normal.Normal
== by another name, and of a module in a module
import xml.etree.ElementTree as ET, os.path as p, email.mime.base as base
from urllib import request, parse as ps
--
assert ET.fromstring("<a/>").tag == "a" and p.join("a", "b") == "a/b" and base.MIMEBase and request.Request("http://x") and ps.quote(" ") == "%20"
import xml.etree, email.mime
assert ET is xml.etree.ElementTree and base is email.mime.base
== imported in a function, used by the parent's name
import urllib
def load():
    import urllib.request, urllib.robotparser
    return urllib.request.Request
first = load()
--
assert urllib.request.Request is first and urllib.robotparser.RobotFileParser
== a child whose parent's name is bound by a function of a cell
def fetch(): return wsgiref.util.guess_scheme({})
import wsgiref.util
class Holder:
    module = wsgiref
    def use(self): return self.module.util.is_hop_by_hop("te")
--
assert fetch() == "http" and Holder().use() and Holder.module is wsgiref
== a package of the workspace
import os
os.makedirs("pkg/deep"); open("pkg/__init__.py", "w").write("top = [1]\n"); open("pkg/deep/__init__.py", "w").write(""); open("pkg/deep/leaf.py", "w").write("from .. import top\nclass Leaf:\n    n = 1\ndef grow(): top.append(Leaf.n); return len(top)\n")
++
import pkg.deep.leaf
pkg.deep.leaf.grow(); leaf = pkg.deep.leaf.Leaf(); top = pkg.top
--
assert type(leaf) is pkg.deep.leaf.Leaf and pkg.top is top, "the name is of another list than the module's"
n = len(top); pkg.deep.leaf.grow(); assert len(top) == n + 1
== a package without an __init__
import os
os.makedirs("space/inner"); open("space/inner/mod.py", "w").write("def f(): return 5\n")
++
import space.inner.mod as mod
import space.inner.mod
g = mod.f
--
assert mod.f() == 5 and space.inner.mod is mod and g is mod.f
""",
)
