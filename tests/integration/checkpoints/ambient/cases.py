"""The cases: the code of a cell, and a condition for every later one. Both may run more than once."""

from dataclasses import dataclass, field
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Case:
    """One case. is_live: its fork must be made from the live process."""

    make: str
    use: str
    is_live: bool = True
    needs: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> list[str]:
        """Return the libraries that it needs and that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


PROCESS = {
    "a time zone that was set": Case(
        "import datetime, os, time\nos.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        "assert datetime.datetime.fromtimestamp(0).hour == 9 and time.tzname[0] == 'JST', time.tzname",
    ),
    "a time zone that only the environment has": Case(
        "import datetime, os, time\nbefore = time.tzname\nos.environ['TZ'] = 'Asia/Tokyo'",
        "assert os.environ['TZ'] == 'Asia/Tokyo' and time.tzname == before, time.tzname",
    ),
    "environment variables of any bytes": Case(
        "import os\nos.environb[b'RAW'] = b'\\xff\\xfe'; os.environ['\\udc80'] = 'x'",
        "assert os.environb[b'RAW'] == b'\\xff\\xfe' and os.environb[b'\\x80'] == b'x'",
    ),
    "limits of the interpreter": Case(
        "import gc, sys, threading\nsys.setrecursionlimit(5000); sys.set_int_max_str_digits(9000)\n"
        "sys.setswitchinterval(.25); threading.stack_size(1 << 20); gc.set_threshold(701, 11, 12); gc.disable()",
        "assert sys.getrecursionlimit() == 5000 and sys.get_int_max_str_digits() == 9000\n"
        "assert sys.getswitchinterval() == .25 and threading.stack_size(1 << 20) == 1 << 20\n"
        "assert gc.get_threshold() == (701, 11, 12) and not gc.isenabled()",
    ),
    "a deep value that the recursion limit was raised for": Case(
        # C code of Python 3.12 has another limit, which can't be raised.
        "import sys\nsys.setrecursionlimit(20_000)\ndeep = []\ndepth = 600 if sys.version_info[:2] == (3, 12) else 1200\n"
        "for _ in range(depth): deep = [deep]",
        "found = deep\nfor _ in range(depth): [found] = found\nassert found == [] and sys.getrecursionlimit() == 20_000",
    ),
    "locale, file mode mask and the time-out of sockets": Case(
        "import locale, os, socket\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8'); os.umask(0o077)\n"
        "socket.setdefaulttimeout(7.5)",
        "open('private', 'w').close()\nassert os.stat('private').st_mode & 0o777 == 0o600; os.remove('private')\n"
        "assert locale.setlocale(locale.LC_ALL) == 'C.UTF-8' and socket.getdefaulttimeout() == 7.5",
    ),
    "handlers of signals": Case(
        "import signal\ngot = []\nsignal.signal(signal.SIGUSR1, lambda *_: got.append(1))\n"
        "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
        "class Counter:\n    def hear(self, *_): got.append(2)\ncounter = Counter()\n"
        "signal.signal(signal.SIGHUP, counter.hear)",
        "import os\ngot.clear(); os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGHUP)\n"
        "assert got == [1, 2], got\nassert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN\n"
        "assert signal.getsignal(signal.SIGHUP).__self__ is counter",
        is_live=False,
    ),
    "arguments": Case("import sys\nsys.argv = ['prog', '--x', '1']", "assert sys.argv == ['prog', '--x', '1']"),
    "hooks of the interpreter": Case(
        "import sys, threading, warnings\nshown = []\n"
        "def hook(*args): shown.append(args)\n"
        "sys.excepthook = sys.displayhook = sys.unraisablehook = threading.excepthook = hook\n"
        "warnings.formatwarning = lambda *_: 'mine'",
        "assert sys.excepthook is sys.displayhook is threading.excepthook is sys.unraisablehook is hook\n"
        "assert warnings.formatwarning() == 'mine'",
    ),
    "a displayhook that hands on to the session's": Case(
        "import sys\nbefore, seen = sys.displayhook, []\n"
        "def hook(value): seen.append(value); before(value)\nsys.displayhook = hook",
        "assert sys.displayhook is hook\nseen.clear(); sys.displayhook(5); assert seen == [5] and _ == 5",
    ),
    "handlers that were there before": Case(
        "import signal, sys\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGINT, before); unraisable = sys.unraisablehook",
        "assert signal.getsignal(signal.SIGINT) == before == signal.default_int_handler\n"
        "assert unraisable == sys.unraisablehook",
    ),
    "a stream in the place of stdin": Case(
        "import io, sys\nlines = sys.stdin = io.StringIO('line\\n' * 100)",
        "import getpass\nassert sys.stdin is lines and input() == 'line' and getpass.getpass() == 'line'",
    ),
    "an input of one's own": Case(
        "import builtins\nasked = []\ndef ask(prompt=''): asked.append(prompt); return 'mine'\nbuiltins.input = ask",
        "assert input('?') == 'mine' and asked[-1] == '?'",
    ),
    "a stream in the place of stdout": Case(
        "import sys\nclass Tee:\n    def __init__(self, to): self.to, self.seen = to, []\n"
        "    def write(self, text): self.seen.append(text); return self.to.write(text)\n"
        "    def flush(self): self.to.flush()\ntee = sys.stdout = Tee(sys.stdout)",
        "assert sys.stdout is tee; tee.seen.clear(); print('x'); assert tee.seen[0] == 'x'",
    ),
}

PYTHON = {
    "decimal contexts": Case(
        "import decimal\ncontext = decimal.getcontext(); context.prec, context.Emax, context.Emin = 9, 99, -99\n"
        "context.rounding, context.capitals, context.clamp = decimal.ROUND_UP, 0, 1\n"
        "context.traps[decimal.Inexact] = True; context.traps[decimal.Overflow] = False\n"
        "context.clear_flags(); context.flags[decimal.Rounded] = True\n"
        "decimal.DefaultContext.prec = 41\ndel context",
        "now = decimal.getcontext()\nassert (now.prec, now.Emax, now.Emin, now.capitals, now.clamp) == (9, 99, -99, 0, 1)\n"
        "assert now.rounding == decimal.ROUND_UP and now.flags[decimal.Rounded] and not now.flags[decimal.Inexact]\n"
        "assert now.traps[decimal.Inexact] and not now.traps[decimal.Overflow]\n"
        "assert decimal.Context().prec == 41\ndel now",
    ),
    "another decimal context": Case(
        "import decimal\ndecimal.setcontext(decimal.ExtendedContext)",
        "assert str(decimal.Decimal(1) / 0) == 'Infinity' and decimal.getcontext().prec == 9",
    ),
    "a decimal context of a class of a cell": Case(
        "import decimal\nclass Own(decimal.Context): pass\ndecimal.setcontext(Own(prec=5))",
        "assert type(decimal.getcontext()) is Own and str(decimal.Decimal(1) / 3) == '0.33333'",
    ),
    "warning filters of any category": Case(
        "import http.client, json, warnings\nclass Own(UserWarning): pass\n"
        "class Far(Own): pass\nwarnings.simplefilter('error', Own)\n"
        "class Lib(http.client.HTTPException): pass\nwarnings.filterwarnings('ignore', 'it is .* ok', Warning)\n"
        "warnings.filterwarnings('error', category=DeprecationWarning, module='nothing')\n"
        "expected = [(f[0], f[1] and f[1].pattern, f[2].__name__, f[4]) for f in warnings.filters if not isinstance(f[1], str)]",
        "now = [(f[0], f[1] and f[1].pattern, f[2].__name__, f[4]) for f in warnings.filters if not isinstance(f[1], str)]\n"
        "assert now == expected, now\nassert warnings.filters[2][2] is Own\n"
        "try: warnings.warn('x', Far)\nexcept Own: pass\nelse: raise AssertionError('own category')",
    ),
    "all warnings are errors, after imports too": Case(
        "import warnings\nimport wave as w1, xml.dom.minidom as w2\nwarnings.simplefilter('error')",
        "try: warnings.warn('x')\nexcept UserWarning: pass\nelse: raise AssertionError",
    ),
    "names added to the built-in ones and replaced": Case(
        "import builtins\nreal, real_type = print, complex\n"
        "def loud(*a, **k): real('!', *a, **k)\nclass Whole(complex): pass\n"
        "builtins.print, builtins.complex, builtins.helper = loud, Whole, lambda: 3\n"
        "def f(): return helper()\ndel builtins.copyright",
        "assert f() == 3 and print is loud and real is not loud and complex is Whole\n"
        "assert real_type.__name__ == 'complex' and real_type is not Whole and 'copyright' not in vars(builtins)\nassert display is builtins.display",
    ),
    "codecs and handlers of their errors": Case(
        "import codecs\ndef find(name):\n    if name == 'reversing': return codecs.CodecInfo(\n"
        "        lambda s, e='strict': (s[::-1].encode(), len(s)), lambda b, e='strict': (bytes(b).decode()[::-1], len(b)),\n"
        "        name='reversing')\ncodecs.register(find)\n"
        "codecs.register_error('dots', lambda exc: ('.', exc.end))",
        "assert 'abc'.encode('reversing') == b'cba' and 'a\\xe9'.encode('ascii', 'dots') == b'a.'",
    ),
    "entries of the search path of any type": Case(
        "import pathlib, sys\nclass S(str): pass\nclass E:\n    def __eq__(self, o): raise RuntimeError('no')\n"
        "    __hash__ = object.__hash__\n    def __fspath__(self): return '/x'\n"
        "odd = E(); sys.path += [pathlib.Path('/p'), S('/s'), odd, '/plain', b'/bytes', 5]; v = [1]",
        "assert v == [1] and '/s' in sys.path[:-4] and type(sys.path[-5]) is S and sys.path[-4] is odd\n"
        "assert sys.path[-6] == pathlib.Path('/p') and sys.path[-3:] == ['/plain', b'/bytes', 5]",
    ),
    "the search path is an object of a cell": Case(
        "import sys\nclass Paths(list): pass\nsys.path = Paths([*sys.path, '/more'])",
        "assert type(sys.path) is Paths and sys.path[-1] == '/more'",
    ),
    "the random module": Case(
        "import random\nrandom.seed(5); random.gauss(0, 1); drawn = random.getstate()",
        "assert random.getstate() == drawn",
    ),
    "what is kept under keys that are no strings": Case(
        "globals()[5] = 'five'; globals()[('a', 1)] = one = [1]",
        "assert globals()[5] == 'five' and globals()[('a', 1)] is one",
    ),
    "csv dialects, the first day of a week, how processes start": Case(
        "import calendar, csv, multiprocessing\ncsv.register_dialect('semi', delimiter=';'); csv.field_size_limit(7)\n"
        "calendar.setfirstweekday(6); multiprocessing.set_start_method('spawn', force=True)",
        "assert csv.get_dialect('semi').delimiter == ';' and csv.field_size_limit() == 7\n"
        "assert calendar.firstweekday() == 6 and multiprocessing.get_start_method() == 'spawn'",
    ),
    "formats of archives, and prefixes of XML": Case(
        "import shutil, xml.etree.ElementTree as ET\ndef pack(*args, **kwargs): return 'packed'\n"
        "def unpack(name, into, **kwargs): seen.append(name)\nseen = []\n"
        "shutil.register_archive_format('own', pack, description='Own')\n"
        "shutil.register_unpack_format('own', ['.own'], unpack)\nET.register_namespace('own', 'http://own')",
        "assert shutil.make_archive('a', 'own') == 'packed' and ('own', 'Own') in shutil.get_archive_formats()\n"
        "seen.clear(); shutil.unpack_archive('/dev/null', '.', 'own')\n"
        "assert len(seen) == 1 and b'own:a' in ET.tostring(ET.Element('{http://own}a'))",
    ),
}

LOGGING = {
    "loggers, their handlers and formatters": Case(
        "import io, logging, sys\nclass Own(logging.Handler):\n    def __init__(self, to): super().__init__(); self.to = to\n"
        "    def emit(self, record): self.to.append(self.format(record))\n"
        "log, lines = logging.getLogger('app.db'), []\nlog.setLevel(logging.DEBUG); log.propagate = False\n"
        "h, own = logging.StreamHandler(), Own(lines)\nown.setFormatter(logging.Formatter('%(levelname)s %(message)s'))\n"
        "own.addFilter(lambda record: record.msg != 'no'); h.setLevel(logging.ERROR); h.set_name('stream')\n"
        "log.addHandler(h); log.addHandler(own); logging.getLogger('quiet').disabled = True",
        "lines.clear()\nassert log is logging.getLogger('app.db') and log.level == logging.DEBUG and not log.propagate\n"
        "assert log.handlers == [h, own] and h.level == logging.ERROR and h.stream is sys.stderr\n"
        "log.debug('hello'); log.debug('no'); assert lines == ['DEBUG hello'], lines\n"
        "assert logging.getLogger('quiet').disabled and h.get_name() == 'stream'",
    ),
    "the configuration of the root logger": Case(
        "import logging\nlogging.basicConfig(level='INFO', format='%(message)s', filename='TMP/out.log')\n"
        "logging.addLevelName(25, 'NOTE'); logging.captureWarnings(True); logging.disable(5)\n"
        "logging.root.info('one')",
        "logging.root.info('two')\nassert logging.root.level == 20 and logging.getLevelName(25) == 'NOTE'\n"
        "assert logging.root.manager.disable == 5\n"
        "import warnings; warnings.warn('caught'); logging.captureWarnings(False); logging.captureWarnings(True)\n"
        "text = open('TMP/out.log').read(); assert text.startswith('one\\ntwo\\n') and 'caught' in text, text",
        is_live=False,  # a file is open
    ),
    "the class of loggers and what makes records": Case(
        "import logging\nclass Own(logging.Logger): pass\nlogging.setLoggerClass(Own)\nbefore = logging.getLogRecordFactory()\n"
        "def factory(*a, **k):\n    record = before(*a, **k); record.extra = 1; return record\n"
        "logging.setLogRecordFactory(factory)",
        "assert logging.getLoggerClass() is Own and type(logging.getLogger('new')) is Own\n"
        "assert logging.getLogRecordFactory() is factory and factory('n', 1, 'p', 1, 'm', (), None).extra == 1",
    ),
    "one handler of two loggers": Case(
        "import logging\nhandler = logging.NullHandler()\n"
        "for name in 'ab': logging.getLogger(name).addHandler(handler)\nhandler.kept = kept = []\ndel handler",
        "[one], [two] = logging.getLogger('a').handlers, logging.getLogger('b').handlers\n"
        "assert one is two and one.kept is kept",
    ),
}

LIBRARIES = {
    "NumPy: errors and printing": Case(
        "import numpy as np\nhits = []\ndef hit(*args): hits.append(args)\n"
        "np.seterr(all='call'); np.seterrcall(hit); np.set_printoptions(precision=2, suppress=True)\n"
        "np.set_printoptions(formatter={'bool': lambda v: 'yes' if v else 'no'})",
        "hits.clear(); np.array([1.0]) / 0; assert hits and np.geterrcall() is hit\n"
        "assert str(np.array([True])) == '[yes]' and np.get_printoptions()['precision'] == 2",
        needs=("numpy",),
    ),
    "NumPy: the generator": Case(
        "import numpy as np\nnp.random.seed(5); np.random.randn(3); before = np.random.get_state()",
        "now = np.random.get_state()\nassert (now[1] == before[1]).all() and now[2:] == before[2:]",
        needs=("numpy",),
    ),
    "NumPy: a generator of another kind": Case(
        "import numpy as np\nnp.random.set_bit_generator(np.random.PCG64(5)); np.random.randn(3)\n"
        "before = np.random.get_state(legacy=False)",
        "assert np.random.get_state(legacy=False) == before and before['bit_generator'] == 'PCG64'",
        needs=("numpy",),
    ),
    "NumPy: a generator whose state has arrays": Case(
        "import numpy as np\nnp.random.set_bit_generator(np.random.SFC64(5)); np.random.randn(3)\n"
        "before = repr(np.random.get_state(legacy=False))",
        "assert repr(np.random.get_state(legacy=False)) == before",
        needs=("numpy",),
    ),
    "pandas: options": Case(
        "import pandas as pd\npd.set_option('display.max_rows', 7); pd.options.display.precision = 2\n"
        "pd.set_option('display.float_format', lambda v: f'<{v}>')\npd.set_option('mode.string_storage', 'python')",
        "assert pd.get_option('display.max_rows') == 7 and pd.options.display.precision == 2\n"
        "assert '<1.5>' in str(pd.Series([1.5])) and pd.get_option('mode.string_storage') == 'python'",
        is_live=False,  # threads of Arrow don't support forks
        needs=("pandas",),
    ),
    "matplotlib: parameters and a style": Case(
        "import matplotlib as mpl\nimport matplotlib.pyplot as plt\nfrom matplotlib import rcParams\nplt.style.use('ggplot')\n"
        "mpl.rcParams['lines.linewidth'] = 7.5; rcParams['font.sans-serif'].insert(0, 'Mine')\n"
        "rcParams['lines.solid_capstyle'] = 'round'",
        "assert mpl.rcParams['lines.linewidth'] == 7.5 and mpl.rcParams['font.sans-serif'][0] == 'Mine'\n"
        "assert mpl.rcParams['axes.prop_cycle'].by_key()['color'][0] == '#E24A33'\n"
        "assert rcParams['lines.solid_capstyle'] == 'round' and mpl.get_backend().endswith('figures')",
        needs=("matplotlib",),
    ),
    "torch: the generator and settings": Case(
        "import torch\ntorch.manual_seed(5); torch.rand(3); before = torch.get_rng_state().tolist()\n"
        "torch.set_default_dtype(torch.float64); torch.use_deterministic_algorithms(True, warn_only=True)\n"
        "torch.set_grad_enabled(False)",
        "assert torch.get_rng_state().tolist() == before and torch.get_default_dtype() is torch.float64\n"
        "assert torch.are_deterministic_algorithms_enabled() and not torch.is_grad_enabled()",
        is_live=False,  # its threads may not support forks
        needs=("torch",),
    ),
    "polars: its configuration": Case(
        "import polars as pl\npl.Config.set_tbl_rows(3); pl.Config.set_float_precision(2)",
        "assert 'shape: (9, 1)' in str(pl.DataFrame({'a': [1.0] * 9})) and '1.00' in str(pl.DataFrame({'a': [1.0]}))\n"
        "assert pl.Config.state()['POLARS_FMT_MAX_ROWS'] == '3'",
        is_live=False,
        needs=("polars",),
    ),
    "scikit-learn: its configuration": Case(
        "import sklearn\nsklearn.set_config(display='text', transform_output='pandas')",
        "now = sklearn.get_config()\nassert now['display'] == 'text' and now['transform_output'] == 'pandas'",
        is_live=False,
        needs=("sklearn",),
    ),
}

OBJECTS = {
    "what of asyncio was waited on": Case(
        "import asyncio\nq, ev, cond = asyncio.Queue(), asyncio.Event(), asyncio.Condition()\nlock = asyncio.Lock()\nseen = []\n"
        "async def put(): await asyncio.sleep(.001); await q.put('a'); ev.set()\n"
        "async def use(n):\n    async with lock: await asyncio.sleep(.001); seen.append(n)\n"
        "t = asyncio.create_task(put()); got = await q.get(); await ev.wait(); await t; del t\n"
        "await asyncio.gather(*(use(n) for n in range(3)))\nasync with cond: cond.notify_all()",
        "q.put_nowait('b'); assert await q.get() == 'b' and await ev.wait()\nawait use(9); assert seen[-1] == 9\n"
        "async def later(): await asyncio.sleep(.001); await q.put('c')\n"
        "t = asyncio.create_task(later()); assert await q.get() == 'c'; await t; del t",
    ),
    "tasks and futures that are done": Case(
        "import asyncio\nasync def work(): return shared\nasync def fail(): raise KeyError('k')\nshared = [5]\n"
        "task, bad, gone = (asyncio.create_task(each) for each in (work(), fail(), asyncio.sleep(9)))\n"
        "gone.cancel(); await asyncio.wait([task, bad, gone]); bad.exception()\n"
        "fut = asyncio.get_running_loop().create_future(); fut.set_result(fut)\nboth = asyncio.gather(work()); await both",
        "assert task.result() is shared and repr(bad.exception()) == \"KeyError('k')\" and gone.cancelled()\n"
        "assert fut.result() is fut and await task is shared and both.result() == [[5]]",
    ),
    "context variables, tokens and contexts": Case(
        "import contextvars, decimal\nv, w = contextvars.ContextVar('v', default=0), contextvars.ContextVar('w')\n"
        "first = v.set(3); second = v.set(4); used = w.set(1); w.reset(used)\n"
        "decimal.getcontext().prec = 6; ctx = contextvars.copy_context(); decimal.setcontext(decimal.Context()); kept = {'v': v}",
        "assert v.get() == 4 and kept['v'] is v and ctx[v] == 4 and ctx.run(v.get) == 4\n"
        "assert ctx.run(lambda: decimal.getcontext().prec) == 6 and first.var is v and second.old_value == 3\n"
        "assert repr(used).startswith('<Token used') and w not in contextvars.copy_context()",
    ),
    "a context variable of a library": Case(
        "import sys, types\nopen('mylib.py', 'w').write('import contextvars; tag = contextvars.ContextVar(\"tag\", default=0)')\n"
        "import mylib\nmylib.tag.set([7])",
        "assert mylib.tag.get() == [7]",
        is_live=False,  # its directory has the module's file
    ),
    "thread-local data": Case(
        "import threading\nclass L(threading.local):\n    n = 0\n    def __init__(self, a, b=2): self.a, self.b = a, b\n"
        "loc, own = threading.local(), L(5, b=7); own.n = 6; loc.x = shared = [1]",
        "assert loc.x is shared and (own.a, own.b, own.n) == (5, 7, 6)\nfound = []\n"
        "t = threading.Thread(target=lambda: found.append((own.a, own.b, own.n, hasattr(loc, 'x')))); t.start(); t.join()\n"
        "assert found == [(5, 7, 0, False)], found\ndel t",
    ),
    "pools that idle": Case(
        "import concurrent.futures as cf\npool = cf.ThreadPoolExecutor(2, 'mine'); r = pool.submit(pow, 2, 5).result()\n"
        "processes = cf.ProcessPoolExecutor(2); ended = cf.ThreadPoolExecutor(1); ended.shutdown()",
        "assert r == 32 and pool.submit(pow, 3, 2).result() == 9\n"
        "try: ended.submit(pow, 1, 1)\nexcept RuntimeError: pass\nelse: raise AssertionError",
        is_live=False,
    ),
    "iterators": Case(
        "import itertools as i, warnings\nwarnings.simplefilter('error')\n"
        "c = i.count(5); next(c); cy = i.cycle('ab'); next(cy); next(cy); next(cy); z = zip([1, 2], [3, 4]); next(z)\n"
        "ch = i.chain('ab', 'c'); next(ch); sl = i.islice(range(9), 3, 6); k = i.count(0.5, 2); e = enumerate('ab')",
        "import copy\nassert repr(c) == 'count(6)' and repr(k) == 'count(0.5, 2)'\n"
        "if 'seen' not in globals(): seen = [next(cy), list(z), list(ch), list(sl), list(e)]\n"
        "assert seen == ['b', [(2, 4)], ['b', 'c'], [3, 4, 5], [(0, 'a'), (1, 'b')]], seen",
    ),
    "instances that answer for their attributes": Case(
        "from unittest import mock\nclass Proxy:\n    def __init__(self, o): object.__setattr__(self, '_o', o)\n"
        "    @property\n    def __class__(self): return type(self._o)\n    def __getattr__(self, n): return getattr(self._o, n)\n"
        "p, d = Proxy([1, 2]), Proxy({'a': 1}); keep = [p]\n"
        "class Slotted:\n    __slots__ = ('_o', '__dict__')\n    def __getattr__(self, n): return getattr(self._o, n)\n"
        "s = Slotted(); s._o = [3]; s.more = 1\nm = mock.MagicMock(return_value=3); m(1); spec = mock.create_autospec(dict)",
        "assert isinstance(p, list) and p._o == [1, 2] and keep[0] is p and d._o == {'a': 1}\n"
        "assert s._o == [3] and s.more == 1 and m(2) == 3 and m.call_args == mock.call(2) and isinstance(spec, dict)",
        is_live=False,  # code of cells takes part in saving it
    ),
}

CASES = PROCESS | PYTHON | LOGGING | LIBRARIES | OBJECTS
