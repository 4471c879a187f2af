"""Run the same cells in a session and in an IPython kernel, and compare value, output, error and last traceback line.

The intended differences are in DIFFERENCES with their reasons. The tests also check that those cells do differ, so that
the table remains correct.
"""

import re
import sys
from dataclasses import dataclass

import pytest
from jupyter_client.manager import AsyncKernelManager

pytestmark = pytest.mark.anyio

AGREEING = {
    "integer": ["1 + 1"],
    "big integer": ["2 ** 100"],
    "float": ["0.1 + 0.2"],
    "negative zero, nan, inf": ["-0.0, float('nan'), float('inf')"],
    "complex": ["(1 + 2j) * 2"],
    "string": ["'it\\'s \"quoted\"\\n'"],
    "bytes": ["b'\\x00abc'"],
    "unicode": ["'ü😀\\u200b'"],
    "none": ["None"],
    "boolean": ["1 == 1.0"],
    "ellipsis": ["..."],
    "list": ["[1, 'a', None]"],
    "nested list": ["[[1, [2, [3]]], []]"],
    "tuple": ["(1,)"],
    "empty containers": ["[], (), {}"],
    "dict keeps its order": ["{'b': 1, 'a': {'c': 2}}"],
    "range": ["range(3)"],
    "slice": ["slice(1, None)"],
    "decimal and fraction": ["from decimal import Decimal\nfrom fractions import Fraction\nDecimal('1.10'), Fraction(3, 6)"],
    "datetime": ["import datetime\ndatetime.date(2024, 2, 29)"],
    "path": ["from pathlib import PurePosixPath\nPurePosixPath('a') / 'b'"],
    "module": ["import math\nmath"],
    "own repr": ["class C:\n    def __repr__(self): return '<mine>'\nC()"],
    "dataclass": ["from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nP()"],
    "enum": ["import enum\nclass E(enum.Enum): A = 1\nE.A"],
    "named tuple": ["from collections import namedtuple\nnamedtuple('P', 'x y')(1, 2)"],
    "exception as a value": ["ValueError('v', 1)"],
    "recursive list": ["x = []\nx.append(x)\nx"],
    "numpy array": ["import numpy\nnumpy.arange(6).reshape(2, 3)"],
    "assignment": ["x = 5"],
    "walrus": ["(x := 5)"],
    "semicolon hides": ["5;"],
    "semicolon in a comment": ["5  # ;"],
    "semicolon in a string": ["';'"],
    "several expressions": ["1\n2\n3"],
    "expression in a block": ["if True: 5"],
    "print": ["print('a', 'b', sep='-')\nprint('c', end='')"],
    "print and value": ["print('out')\n'value'"],
    "write gives its count": ["import sys\nsys.stdout.write('abc')"],
    "stderr is no stdout": ["import sys\nprint('e', file=sys.stderr)"],
    "results": ["1", "2", "3", "_, __, ___"],
    "results skip none": ["1", "None", "x = 2", "_"],
    "result of an await": ["import asyncio\nawait asyncio.sleep(0, 5)", "_ + 1"],
    "an indented cell": ["  x = 1\n  x"],
    "a hidden result": ["1", "2;", "_"],
    "assigning to _": ["_ = 'mine'", "5", "_"],
    "prompts": [">>> x = 1\n>>> x + 1"],
    "expressions in a command line": ["x = [1, 2]", "got = !echo {x[0] + 1} {len(x)}\ngot.n"],
    "the status of a command": ["!exit 3", "_exit_code", "!true", "_exit_code"],
    "a command over a backslash": ["b = !echo a \\\n  b\nb.n"],
    "deleted name": ["x = 1\ndel x\nx"],
    "later binding": ["def f(): return y", "y = 3", "f()"],
    "global": ["def f():\n    global g\n    g = 1\nf()", "g"],
    "nonlocal": ["def f():\n    n = 1\n    def g():\n        nonlocal n\n        n += 1\n        return n\n    return g\nf()()"],
    "comprehension scope": ["i = 9\n[i for i in range(3)], i"],
    "class scope": ["x = 1\nclass C:\n    x = 2\n    y = [x for _ in range(1)]\nC.y"],
    "closure in a loop": ["fs = [lambda: i for i in range(3)]\n[f() for f in fs]"],
    "generator": ["def g():\n    got = yield 1\n    yield got\nit = g()\nnext(it), it.send(2)"],
    "star unpacking": ["a, *b = range(4)\na, b"],
    "match": ["match {'k': [1, 2]}:\n    case {'k': [x, y]}: z = x + y\nz"],
    "f-string": ["x = 3.14159\nf'{x:.2f} {x!r} {x=}'"],
    "name of main": ["__name__"],
    "top-level await": ["import asyncio\nasync def f(): return 42\nawait f()"],
    "await in a comprehension": ["import asyncio\n[await asyncio.sleep(0, i) for i in range(3)]"],
    "async for": ["async def g():\n    yield 1\n    yield 2\nasync for x in g(): print(x)"],
    "async with": ["import contextlib\n@contextlib.asynccontextmanager\nasync def c():\n    print('in')\n    yield 5\n    print('out')\nasync with c() as x: print(x)"],
    "gather": ["import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    print(n)\n    return n\nawait asyncio.gather(f(1), f(2))"],
    "create_task": ["import asyncio\nasync def f(): print('ran')\nt = asyncio.create_task(f())\nawait t"],
    "division by zero": ["1 / 0"],
    "name error": ["undefined"],
    "name error with a hint": ["printt('x')"],
    "attribute error": ["'a'.nothing"],
    "type error": ["'a' + 1"],
    "key error": ["{}['k']"],
    "index error": ["[][1]"],
    "import error": ["import nothing_of_this_name"],
    "assertion": ["assert 1 == 2, 'not equal'"],
    "empty exception": ["raise ValueError"],
    "exception with several lines": ["raise ValueError('a\\nb')"],
    "own exception": ["class Mine(Exception): pass\nraise Mine('m')"],
    "chained": ["try: 1 / 0\nexcept ZeroDivisionError as e: raise KeyError('k') from e"],
    "error after output": ["print('before')\n1 / 0\nprint('after')"],
    "error in a function": ["def f(): raise RuntimeError('deep')", "f()"],
    "error in an await": ["async def f(): raise RuntimeError('deep')\nawait f()"],
    "stop iteration": ["next(iter([]))"],
    "keyboard interrupt": ["raise KeyboardInterrupt"],
    "system exit": ["import sys\nsys.exit(3)"],
    "a program's arguments": ["import argparse\np = argparse.ArgumentParser('p')\np.add_argument('--n', type=int)\np.parse_args(['--n', '3']).n"],
    "a program's help": ["import argparse\np = argparse.ArgumentParser('p')\np.print_help()"],
    "a program's help, which ends it": ["import argparse\nargparse.ArgumentParser('p').parse_args(['--help'])"],
    "a program that refuses its arguments": ["import argparse\nargparse.ArgumentParser('p').parse_args(['--bad'])"],
    "a program that ends well": ["import sys\ndef main():\n    print('done')\n    sys.exit()\nmain()"],
    "a program that ends with a word": ["import sys\nsys.exit('it went wrong')"],
    "a command of click": ["import click\n@click.command()\n@click.option('--n', default=1)\ndef cli(n): click.echo(f'n={n}')\ncli(['--n', '3'])"],
    "a command of click as a function": ["import click\n@click.command()\n@click.option('--n', default=1)\ndef cli(n): return n\ncli(['--n', '3'], standalone_mode=False)"],
    "a command of click under test": ["import click\nfrom click.testing import CliRunner\n@click.command()\n@click.option('--n', default=1)\ndef cli(n): click.echo(f'n={n}')\nCliRunner().invoke(cli, ['--n', '4']).output"],
    "error keeps earlier names": ["x = 1\n1 / 0", "x"],
    "syntax error": ["x = = 1"],
    "indentation error": ["  x = 1\n y = 2"],
    "return outside": ["return 5"],
    "no result yet": ["_"],
    "counter and ordered dict": ["import collections\ncollections.Counter('aab'), collections.OrderedDict(a=1)"],
    "assigned shell": ["x = !printf 'a\\nb'\nlist(x)"],
    "cd and pwd": ["import os\nos.chdir('/')\n%pwd"],
    "assigned magic": ["import os\nos.chdir('/')\nx = %pwd\nx"],
    "bash": ["%%bash\nfor i in 1 2; do echo $i; done"],
    "env": ["%env ANSWER=42\nimport os\nos.environ['ANSWER']"],
    "magic in a string": ["x = '''\n%pwd\n!ls\n'''\nx"],
    "modulo over lines": ["(7\n% 4)"],
    "display of several": ["print('a')\ndisplay(1)\nprint('b')"],
}  # fmt: skip

DIFFERENCES = {
    "a class as a value": (["class C: pass\nC"], "IPython writes classes as module.name; a session shows Python's repr"),
    "a builtin class": (["int"], "as above"),
    "a function as a value": (["def f(a): pass\nf"], "IPython writes the signature; repr has the address, and data tools expect it"),
    "a builtin function": (["len"], "as above: IPython writes the signature"),
    "a long list": (["list(range(100))"], "IPython breaks lines over 79 characters; repr is one line"),
    "a long dict": (["{i: 'x' * 10 for i in range(10)}"], "as above"),
    "a set": (["{'b', 'a', 'c', 'd', 'e'} | {str(i) for i in range(20)}"], "IPython sorts sets and breaks lines; repr does neither"),
    "a command line": (["x = 'v'\n!echo $x"], "IPython runs it on a pseudo-terminal, which ends lines with \\r\\n"),
    "a default dict": (["import collections\ncollections.defaultdict(list, a=[1])"], "IPython writes the factory as a bare name"),
    "a repr that raises": (["class C:\n    def __repr__(self): raise ValueError('no')\nC()"], "IPython prints a traceback and shows no value; a session names the exception in the text"),
    "In and Out": (["1", "Out[1]"], "these names are IPython's history; a session has `_`, `__`, `___` and the event stream"),
    "get_ipython": (["get_ipython().__class__.__name__"], "there is no IPython"),
    "a coroutine in a sync def": (["import asyncio\ndef f(): return await asyncio.sleep(0, 1)", "await f()"], "a SyntaxError in IPython; here the def is made async, with a warning (semantics.md)"),
    "a lambda that awaits": (["import asyncio\nf = lambda: await asyncio.sleep(0, 1)\nawait f()"], "as above"),
    "asyncio.run": (["import asyncio\nasync def f(): return 1\nasyncio.run(f())"], "it fails because IPython's loop is running; in a session the cell doesn't run on the loop"),
    "an unknown magic": (["%no_such_magic"], "IPython prints a UsageError to stderr and continues; here the cell fails and the error names the magic"),
    "an unknown cell magic": (["%%no_such_magic\nx"], "as above"),
    "input without a client": (["input()"], "this kernel's front end allows no input and raises its own exception; a session raises EOFError after a deadline"),
    "a question mark": (["len?"], "IPython shows help in a pager; here it is printed"),
    "time": (["%time 5"], "the numbers differ, and IPython writes user and system time"),
    "unawaited results": (["async def f(): pass\nf()"], "the address of a coroutine"),
    "the file of a cell": (["def f(): pass\nf.__code__.co_filename"], "cells are named by their place in the session, not by a temporary file"),
    "command line arguments": (["import argparse\nargparse.ArgumentParser('p').parse_args()"], "argparse rejects the arguments of the kernel; a session has none"),
    "sys.argv": (["import sys\nsys.argv"], "as above: it is [''], as at Python's own prompt"),
    "colours of click": (["import click\nclick.secho('red', fg='red')"], "click writes them for a notebook; programs read the text of a session"),
    "a plain object": (["object()"], "the address"),
}  # fmt: skip

if sys.version_info >= (3, 12):
    DIFFERENCES["a name error with a hint"] = (AGREEING.pop("name error with a hint"), "IPython omits the hint")
    DIFFERENCES["a counter and an ordered dict"] = (
        AGREEING.pop("counter and ordered dict"),
        "IPython writes an OrderedDict as earlier versions of Python did",
    )

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Seen:
    """The visible results of a case: the value and the error of its last cell, and the output of all its cells."""

    value: str | None
    stdout: str
    ename: str | None
    last_line: str | None


class Kernel:
    """An IPython kernel."""

    def __init__(self):
        self._manager = AsyncKernelManager(kernel_name="python3")

    async def start(self):
        await self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=30)
        return self

    async def stop(self):
        self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)
        self._manager.context.destroy()

    async def run(self, cells):
        await self._execute("%reset -f in out dhist\n%reset -f")
        seen = [await self._execute(code) for code in cells]
        return Seen(seen[-1].value, "".join(each.stdout for each in seen), seen[-1].ename, seen[-1].last_line)

    async def _execute(self, code):
        message_id = self._client.execute(code, allow_stdin=False)
        value = ename = last_line = None
        stdout = ""
        while True:
            message = await self._client.get_iopub_msg()
            content = message["content"]
            if message["parent_header"].get("msg_id") != message_id:
                continue
            match message["msg_type"]:
                case "stream" if content["name"] == "stdout":
                    stdout += content["text"]
                case "execute_result":
                    value = content["data"]["text/plain"]
                case "error":
                    ename, last_line = content["ename"], ANSI.sub("", "\n".join(content["traceback"])).splitlines()[-1]
                case "status" if content["execution_state"] == "idle":
                    return Seen(value, stdout, ename, last_line)


@pytest.fixture(scope="module")
async def kernel():
    kernel = Kernel()
    yield await kernel.start()
    await kernel.stop()


async def in_session(session, cells):
    ran = [await session.run(code) for code in cells]
    error = ran[-1].error
    return Seen(
        ran[-1].plain,
        "".join(cell.stdout for cell in ran),
        error.ename if error else None,
        error.traceback.splitlines()[-1] if error else None,
    )


def without_empty_text(seen):
    """Return the results without the colon that IPython adds to an error line without text."""
    return Seen(seen.value, seen.stdout, seen.ename, seen.last_line.rstrip(": ") if seen.last_line else None)


@pytest.mark.parametrize("cells", AGREEING.values(), ids=AGREEING.keys())
async def test_session_and_kernel_show_the_same_for(session, kernel, cells):
    assert without_empty_text(await in_session(session, cells)) == without_empty_text(await kernel.run(cells))


@pytest.mark.parametrize("cells", [cells for cells, _ in DIFFERENCES.values()], ids=DIFFERENCES.keys())
async def test_the_table_of_differences_is_correct_for(start_session, kernel, cells):
    session = await start_session(input_timeout=0.01)

    assert await in_session(session, cells) != await kernel.run(cells)
