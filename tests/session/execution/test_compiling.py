"""Compiling: top-level await in every place that the grammar allows, and future imports."""

import pytest

pytestmark = pytest.mark.anyio

ASYNC_TOOLS = """
import asyncio, contextlib
async def give(value=42):
    await asyncio.sleep(0)
    return value
async def count(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
class Plain:
    async def __aenter__(self): return "inside"
    async def __aexit__(self, *exc): return False
"""

AWAITING_CELLS = {
    "expression": ("await give()", 42),
    "assignment": ("x = await give()\nx", 42),
    "augmented assignment": ("x = 1\nx += await give()\nx", 43),
    "annotated assignment": ("x: int = await give()\nx", 42),
    "tuple assignment": ("a, *b = await give(), await give(1), 2\n(a, b)", (42, [1, 2])),
    "walrus": ("(y := await give()) + y", 84),
    "call argument": ("max(await give(1), await give(2))", 2),
    "call target": ("(await give(str))(5)", "5"),
    "keyword argument": ("dict(a=await give(1))", {"a": 1}),
    "starred argument": ("max(*await give([1, 3]))", 3),
    "attribute of it": ("(await give('a')).upper()", "A"),
    "subscript": ("[1, 2, 3][await give(1)]", 2),
    "slice": ("[1, 2, 3][await give(1):]", [2, 3]),
    "list literal": ("[await give(1), await give(2)]", [1, 2]),
    "dict literal": ("{await give('k'): await give('v')}", {"k": "v"}),
    "set literal": ("sorted({await give(2), await give(1)})", [1, 2]),
    "f-string": ("f'{await give()!r:>4}'", "  42"),
    "nested f-string": ("f'{await give(3.14159):{await give(4)}.{await give(1)}f}'", " 3.1"),
    "conditional": ("await give(1) if await give(False) else await give(2)", 2),
    "boolean": ("await give(0) or await give(7)", 7),
    "comparison chain": ("1 < await give(2) < await give(3)", True),
    "list comprehension": ("[await give(i) for i in range(3)]", [0, 1, 2]),
    "dict comprehension": ("{i: await give(i * i) for i in range(3)}", {0: 0, 1: 1, 2: 4}),
    "set comprehension": ("sorted({await give(i % 2) for i in range(4)})", [0, 1]),
    "comprehension source": ("[i for i in await give([1, 2])]", [1, 2]),
    "async comprehension": ("[i async for i in count(3)]", [0, 1, 2]),
    "async comprehension with a condition": ("[i async for i in count(4) if await give(i % 2)]", [1, 3]),
    "async generator expression": ("[i async for i in (j + 1 async for j in count(2))]", [1, 2]),
    "nested comprehensions": ("[[j async for j in count(i)] for i in range(3)]", [[], [0], [0, 1]]),
    "async for": ("seen = []\nasync for i in count(3): seen.append(i)\nseen", [0, 1, 2]),
    "async for with else": ("async for i in count(0): pass\nelse: i = await give('else')\ni", "else"),
    "async with": ("async with Plain() as p:\n    got = p\ngot", "inside"),
    "nested async contexts": (
        "async with Plain() as p, asyncio.timeout(5), Plain() as q:\n"
        "    async with contextlib.AsyncExitStack() as stack:\n"
        "        r = await stack.enter_async_context(Plain())\n"
        "[p, q, r]",
        ["inside"] * 3,
    ),
    "task group": (
        "async with asyncio.TaskGroup() as group:\n    tasks = [group.create_task(give(i)) for i in range(3)]\n"
        "[task.result() for task in tasks]",
        [0, 1, 2],
    ),
    "if": ("if await give(True):\n    x = await give('then')\nx", "then"),
    "while": ("n = 0\nwhile await give(n < 3): n += 1\nn", 3),
    "for": ("for i in await give([1, 2]): await give(i)\ni", 2),
    "with": ("with contextlib.suppress(ZeroDivisionError):\n    1 / await give(0)\n'suppressed'", "suppressed"),
    "try": ("try:\n    1 / await give(0)\nexcept ZeroDivisionError:\n    x = await give('e')\nfinally:\n    await give()\nx", "e"),
    "exception type": ("try:\n    1 / 0\nexcept (await give(ZeroDivisionError)):\n    x = 'caught'\nx", "caught"),
    "raise": ("try:\n    raise await give(KeyError('k'))\nexcept KeyError as e:\n    x = e.args[0]\nx", "k"),
    "assert": ("assert await give(True), await give('message')\n'held'", "held"),
    "delete": ("d = {1: 2}\ndel d[await give(1)]\nd", {}),
    "match": (
        "match await give((1, 2)):\n    case (1, y) if await give(True):\n        x = await give(y)\nx",
        2,
    ),
    "decorator": ("@(await give(lambda f: f() + 1))\ndef x(): return 1\nx", 2),
    "default argument": ("def f(a=await give(), *, b=await give(1)): return a + b\nf()", 43),
    "lambda default": ("(lambda a=await give(): a)()", 42),
    "class base": ("class C(await give(int)): pass\nC(3) + 0", 3),
    "class decorator": ("@(await give(lambda c: c.__name__))\nclass C: pass\nC", "C"),
    "annotation": ("def f(a: await give(int)): pass\nf.__annotations__['a'] is int", True),
    "gather": ("await asyncio.gather(give(1), give(2))", [1, 2]),
    "lines that go on": ("(await\n    give())", 42),
    "several on a line": ("a = await give(1); b = await give(2); a + b", 3),
    "await of an await": ("await (await give(give(5)))", 5),
    "await in the middle only": ("x = 1\nx = await give(2)\nx + 1", 3),
}  # fmt: skip


@pytest.mark.parametrize(("code", "value"), AWAITING_CELLS.values(), ids=AWAITING_CELLS.keys())
async def test_await_works_at_top_level_in_a(session, code, value):
    await session.run(ASYNC_TOOLS)

    cell = await session.run(code)

    assert cell.value == value
    assert cell.mode == "top_level_await"


async def test_an_async_generator_of_one_cell_is_read_in_the_next(session):
    await session.run(ASYNC_TOOLS)
    await session.run("numbers = count(10)\nfirst = await anext(numbers)")

    assert await session.value("[first, await anext(numbers), [i async for i in numbers][-1]]") == [0, 1, 9]


async def test_future_imports_of_the_engine_do_not_affect_cells(session):
    assert await session.value("def f(a: 1 + 1): pass\nf.__annotations__") == {"a": 2}


async def test_a_future_import_applies_to_its_own_cell(session):
    code = "from __future__ import annotations\ndef f(a: 1 + 1): pass\nf.__annotations__"

    assert await session.value(code) == {"a": "1 + 1"}


async def test_a_future_import_applies_to_later_cells(session):
    await session.run("from __future__ import annotations")

    assert await session.value("def f(a: no_such_name): pass\nf.__annotations__") == {"a": "no_such_name"}


async def test_a_future_import_does_not_apply_to_other_sessions(session, start_session):
    await session.run("from __future__ import annotations")
    other = await start_session()

    assert await other.value("def f(a: 1 + 1): pass\nf.__annotations__") == {"a": 2}


async def test_a_future_import_of_a_cell_with_a_syntax_error_has_no_effect(session):
    await session.run("from __future__ import annotations\nreturn")

    assert await session.value("def f(a: 1 + 1): pass\nf.__annotations__") == {"a": 2}
