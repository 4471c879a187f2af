"""Modules: imported by name, made in code, from the user's own files."""

from .cases import read

CASES = read(
    "modules",
    r"""
== modules and aliases
import json, os.path as path, collections.abc, xml.dom.minidom as dom
j = json; kept = [json, {"m": path}]
--
import sys
assert j is json is sys.modules["json"] and kept[1]["m"] is path and collections.abc.Mapping and dom is sys.modules["xml.dom.minidom"]
== names imported from modules
from os.path import join as glue
from collections import OrderedDict, deque as Ring
from math import pi, tau
--
assert glue("a", "b") == "a/b" and Ring([1], 1).maxlen == 1 and pi * 2 == tau and OrderedDict(a=1)
== a submodule that an attribute reaches
import importlib
import concurrent
importlib.import_module("concurrent.futures")
--
assert concurrent.futures.Future().done() is False
== the session's own module
import __main__, sys
me = sys.modules["__main__"]; x = 1
--
assert me is __main__ is sys.modules["__main__"] and me.x == 1
me.y = 5
assert y == 5
== a module made by hand
import types
tools = types.ModuleType("tools", "doc"); tools.x = [1]; exec("def get(): return x", tools.__dict__); same = tools
--
tools.x.append(2)
assert same is tools and tools.get() == [1, 2] and tools.__doc__ == "doc" and tools.get.__globals__ is tools.__dict__
== a module made by hand that can be imported
import sys, types
tools = types.ModuleType("handmade"); exec("class Tool:\n    def hi(self): return 'hi'", tools.__dict__); sys.modules["handmade"] = tools
import handmade
tool = handmade.Tool(); Tool = handmade.Tool
--
assert tool.hi() == "hi" and type(tool) is Tool is handmade.Tool
== a module of a directory that was added to the path
import pathlib, sys, tempfile
home = tempfile.mkdtemp(); pathlib.Path(home, "added_module_of_mine.py").write_text("class Thing:\n    def __init__(self): self.v = 3\ndef f(): return g()\ndef g(): return 4\n")
sys.path.insert(0, home)
import added_module_of_mine as mine
thing = mine.Thing(); f = mine.f
--
assert home in __import__("sys").path and thing.v == 3 and f() == 4 and type(thing) is mine.Thing and f is mine.f
== a package of a directory that was added to the path
import pathlib, sys, tempfile
home = tempfile.mkdtemp(); root = pathlib.Path(home, "added_package_of_mine"); root.mkdir(); (root / "__init__.py").write_text("from . import deep"); (root / "deep.py").write_text("import enum\nclass E(enum.Enum):\n    A = 1\n")
sys.path.append(home)
from added_package_of_mine.deep import E
import added_package_of_mine as package
kept = {E.A: package}
--
assert kept[E(1)] is package and package.deep.E is E
== state of a module is that module's own
import decimal, math
level = decimal.getcontext().prec; sine = math.sin
--
assert level == decimal.getcontext().prec and sine(0) == 0
== ambient state: search path, environment, filters, decimals, random numbers
import os, sys, warnings, decimal, random
sys.path.append("/somewhere/else"); os.environ["FIDELITY_MARK"] = "m"; warnings.simplefilter("ignore", UserWarning); decimal.getcontext().prec = 9; random.seed(3); random.random(); after = random.Random(3); after.random(); expected = after.random()
--
import os, sys
assert "/somewhere/else" in sys.path and os.environ["FIDELITY_MARK"] == "m"
assert decimal.getcontext().prec == 9
assert random.random() == expected
warnings.warn("it is ignored", UserWarning, stacklevel=1)
== the results of earlier cells
[1, 2]
++
{"a": 3}
--
assert _ == {"a": 3} and __ == [1, 2]
== dunder names that a cell binds
__version__ = "1"; __all__ = ["a"]; _private = [1]; __x = 2
--
assert __version__ == "1" and __all__ == ["a"] and _private == [1] and __x == 2
== annotations of the session
level: int = 3
later: "str"
--
assert __annotations__ == {"level": int, "later": "str"} and level == 3
""",
)
