"""Rewriting awaits that stand where Python allows none, with a warning; any other mistake is a SyntaxError."""

import traceback

import pytest

pytestmark = pytest.mark.anyio

TOOLS = """
async def give(value): return value
async def count(n):
    for i in range(n): yield i
class Plain:
    async def __aenter__(self): return "inside"
    async def __aexit__(self, *exc): return False
"""


async def test_a_def_whose_body_awaits_is_made_async(session):
    await session.run(TOOLS)
    cell = await session.run("def fetch():\n    return await give(7)")

    assert [(notice.category, notice.message) for notice in cell.notices] == [
        ("rewritten", "line 1: def fetch awaits, so it was made async")
    ]
    assert await session.value("await fetch()") == 7


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("def outer():\n    def inner():\n        return await give(8)\n    return inner\nawait outer()()", 8),
        ("def total():\n    return sum([i async for i in count(3)])\nawait total()", 3),
        ("def enter():\n    async with Plain() as p: return p\nawait enter()", "inside"),
        ("class C:\n    def method(self): return await give(9)\nawait C().method()", 9),
        ("class C:\n    @staticmethod\n    def method(a=1, *b, c=2): return await give((a, b, c))\nawait C.method(5)", (5, (), 2)),
    ],
    ids=["inner function", "async comprehension", "async with", "method", "static method"],
)  # fmt: skip
async def test_every_kind_of_def_that_awaits_is_made_async(session, body, value):
    await session.run(TOOLS)
    cell = await session.run(body)

    assert cell.value == value
    assert len(cell.notices) == 1


async def test_a_def_around_an_async_def_is_not_changed(session):
    cell = await session.run("def make():\n    async def inner(): return await inner()\n    return 5\nmake()")

    assert (cell.value, cell.notices) == (5, [])


async def test_a_zero_argument_lambda_that_awaits_becomes_an_async_helper(session):
    await session.run(TOOLS)
    cell = await session.run("helper = lambda: await give('x')\nawait helper()")

    assert cell.value == "x"
    assert [notice.message for notice in cell.notices] == ["line 1: a lambda awaits, so it was made an async function"]


async def test_a_lambda_inside_a_function_that_awaits_sees_the_functions_names(session):
    await session.run(TOOLS)

    assert await session.value("def make(v):\n    return lambda: await give(v)\nawait make(3)()") == 3


async def test_a_lambda_with_arguments_that_awaits_remains_an_error(session):
    cell = await session.run("lambda x: await x")

    assert (cell.error.ename, cell.error.evalue) == (
        "SyntaxError",
        "'await' outside async function (<cell 1>, line 1)",
    )


async def test_a_rewritten_cell_keeps_its_line_numbers(session):
    await session.run(TOOLS)
    cell = await session.run("f = lambda: await give(1)\n\n1 / 0")

    assert 'File "<cell 2>", line 3' in cell.error.traceback


def as_python_shows(code):
    with pytest.raises(SyntaxError) as caught:
        compile(code, "<cell 1>", "exec")
    return "".join(traceback.format_exception_only(caught.value))


SYNTAX_ERRORS = {
    "def f(:": '  File "<cell 1>", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax\n',
    "x = 1\nif x\n    pass": "  File \"<cell 1>\", line 2\n    if x\n        ^\nSyntaxError: expected ':'\n",
    "return 5": '  File "<cell 1>", line 1\n    return 5\n    ^^^^^^^^\nSyntaxError: \'return\' outside function\n',
    "yield 5": '  File "<cell 1>", line 1\n    yield 5\n    ^^^^^^^\nSyntaxError: \'yield\' outside function\n',
    "break": '  File "<cell 1>", line 1\n    break\n    ^^^^^\nSyntaxError: \'break\' outside loop\n',
    "x = 1\n  y = 2": '  File "<cell 1>", line 2\n    y = 2\nIndentationError: unexpected indent\n',
    "f(**{'a': 1}, *b)": as_python_shows("f(**{'a': 1}, *b)"),  # the number of carets depends on the Python version
    "class C:\n    await x": (
        '  File "<cell 1>", line 2\n    await x\n    ^^^^^^^\nSyntaxError: \'await\' outside function\n'
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", SYNTAX_ERRORS)
async def test_a_syntax_error_shows_its_line_and_caret_and_nothing_else(session, code):
    cell = await session.run(code)

    assert cell.status == "failed"
    assert cell.error.traceback == SYNTAX_ERRORS[code]


async def test_a_cell_with_a_syntax_error_runs_nothing_of_it(session):
    await session.run("x = 1\nprint('ran')\ndef f(:")

    assert await session.value("'x' in globals()") is False


@pytest.mark.parametrize("code", ["", "\n\n", "# only a comment", "   ", "pass", "x = 0"])
async def test_a_cell_without_a_value_has_the_value_none(session, code):
    cell = await session.run(code)

    assert (cell.status, cell.result, cell.text) == ("finished", None, "")


@pytest.mark.parametrize("code", ["x = 'a\0b'", "\ud800 = 1", "'\ud800'.encode()"], ids=["null", "name", "string"])
async def test_source_that_is_not_valid_text_fails_and_the_session_continues(session, code):
    cell = await session.run(code)

    assert cell.status == "failed"
    assert await session.value("1") == 1


async def test_source_nested_too_deeply_fails_and_the_session_continues(session):
    cell = await session.run("(" * 5000 + ")" * 5000)

    assert cell.error.ename in {"SyntaxError", "MemoryError", "RecursionError"}
    assert await session.value("1") == 1


async def test_warnings_of_the_compiler_are_shown_once_with_their_cell(session):
    cell = await session.run("x = 1\n1 is 1\nx")

    with pytest.warns(SyntaxWarning) as warned:
        compile("1 is 1", "<cell 1>", "exec")
    assert cell.stderr == f"<cell 1>:2: SyntaxWarning: {warned[0].message}\n  1 is 1\n"
