"""After a cell of plain values only the names that it binds are saved; so nothing else may have changed."""

import secrets

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module")
async def cluster():
    async with skep.embedded(workers=2) as cluster:
        yield cluster


@pytest.fixture
def session(cluster):
    return cluster.session(f"s-{secrets.token_hex(6)}")


TRAPS = {
    "the old value's end runs code": (
        "log = []\nclass Ends:\n    def __del__(self): log.append('ended')\nx = Ends()",
        ["x = 1"],
        "log == ['ended'] and x == 1",
    ),
    "a text of a class of its own": (
        "log = []\nclass Text(str):\n    def __add__(self, other): log.append(other); return 'sum'\nx = Text('a')",
        ["y = x + 'b'"],
        "log == ['b'] and y == 'sum'",
    ),
    "an operator that changes its operand": (
        "class Number:\n    n = 0\n    def __iadd__(self, other): self.n += other; return self\nx = Number()",
        ["x += 3"],
        "x.n == 3",
    ),
    "a built-in function that was replaced": (
        "import builtins\nlog = []\nkept = builtins.len\ndef counting(x): log.append(x); return kept(x)\nlen = counting",
        ["y = len('abc')"],
        "log == ['abc'] and y == 3",
    ),
    "a thread that works meanwhile": (
        "import threading\nlog = []\ngo, done = threading.Event(), threading.Event()\n"
        "def work(): go.wait(30); log.append(1); done.set()\n"
        "thread = threading.Thread(target=work); thread.start(); del thread",
        ["1+1", "go.set(); done.wait(30)", "1+1"],
        "log == [1]",
    ),
    "a task that works meanwhile": (
        "import asyncio\nlog = []\nasync def work():\n    await asyncio.sleep(0)\n    log.append(1)\n"
        "task = asyncio.create_task(work())",
        ["1+1", "await task; task = None", "1+1"],
        "log == [1]",
    ),
    "a signal that comes meanwhile": (
        "import signal\nlog, has_rung = [], False\ndef ring(*_):\n    global has_rung\n    log.append(1)\n    has_rung = True\n"
        "signal.signal(signal.SIGALRM, ring)",
        ["signal.setitimer(signal.ITIMER_REAL, 0.2)", "while not has_rung: pass"],
        "log == [1] and has_rung",
    ),
    "a trace function": (
        "import sys\nlog = []\ndef trace(frame, event, arg):\n    if frame.f_code.co_name == '<module>': log.append(event)\n"
        "sys.settrace(trace)",
        ["x = 1"],
        "'call' in log and x == 1",
    ),
    "a result that was a list": ("x = [1]\nx", ["1+1", "1+2"], "___ is x and __ == 2 and _ == 3"),
    "a list that the result still is": ("x = [1]\nx", ["x.append(2)", "1+1"], "__ is x and x == [1, 2]"),
    "a name that a list shares": (
        "big = 'x' * 5000\nholder = [big]",
        ["big = 5"],
        "big == 5 and len(holder[0]) == 5000",
    ),
    "a name that had a module, a function, a class": (
        "import math\ndef f(): return 1\nclass C: pass",
        ["math = 1", "f = 2", "C = 3"],
        "(math, f, C) == (1, 2, 3)",
    ),
    "a name that could not be saved": ("g = (i for i in [])\nkept = [1]", ["g = 5"], "g == 5 and kept == [1]"),
    "names that loops and comprehensions bind": (
        "rows = [1]",
        ["for i in range(3): total = i", "squares = [n * n for n in range(3)]", "last = squares[2] if 1 else 0"],
        "(i, total, squares, last, rows) == (2, 2, [0, 1, 4], 4, [1])",
    ),
    "a file that a child process writes meanwhile": (
        "import subprocess\nchild = subprocess.Popen(['sh', '-c', 'read go; echo hello > late.txt'], stdin=subprocess.PIPE)",
        ["1+1", "child.communicate(b'go\\n'); child = None", "1+1"],
        "open('late.txt').read() == 'hello\\n'",
    ),
    "a cell that fails after it has bound a name": ("x = 1\ny = [1]", ["x = 2\n1 / 0"], "x == 2 and y == [1]"),
    "a name of the namespace that is rebound to itself": ("x = [1]\nz = 3", ["z = z", "z = 3"], "z == 3 and x == [1]"),
}


@pytest.mark.parametrize(("make", "cells", "check"), TRAPS.values(), ids=TRAPS.keys())
async def test_no_change_is_missed(session, make, cells, check):
    assert (await session.run(make)).ok
    for cell in cells:
        await session.run(cell)
    await session.run(KILL)

    outcome = await session.run(check)

    assert outcome.value is True, outcome.error
