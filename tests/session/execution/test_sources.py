"""inspect, tracebacks and warnings show the right lines of a cell, whatever characters its text contains."""

import pytest

pytestmark = pytest.mark.anyio

# Characters that end a line for str.splitlines, but not for Python.
SEPARATORS = {
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "file separator": "\x1c",
    "group separator": "\x1d",
    "record separator": "\x1e",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
}
each_separator = pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS.keys())


def place(seq, line, text):
    return f'File "<cell {seq}>", line {line}, in <module>\n    {text}\n'


@each_separator
@pytest.mark.parametrize(
    "holds", ["text = 'one{}two'", "a = 1  # one{}two", 's = """one{}two"""', "# {}", "x = 'at the end{}'"]
)
async def test_a_traceback_shows_the_line_that_failed(session, separator, holds):
    cell = await session.run(f"{holds.format(separator)}\nok = 1\nraise ValueError('here')")

    assert place(1, 3, "raise ValueError('here')") in cell.error.traceback


@each_separator
async def test_the_source_of_a_function_is_complete(session, separator):
    source = f"def f():\n    x = 'a{separator}b'  # c{separator}d\n    return x\n"
    await session.run(f"s = 'e{separator}f'\n{source}")

    assert await session.value("import inspect; inspect.getsource(f)") == source
    assert await session.value("inspect.getsourcelines(f)[1]") == 2


@each_separator
async def test_the_source_of_a_class_is_complete(session, separator):
    source = f"class C:\n    x = 'a{separator}b'\n"
    await session.run(f"s = 'e{separator}f'\n{source}")

    assert await session.value("import inspect; inspect.getsource(C)") == source


@each_separator
async def test_a_warning_shows_its_line(session, separator):
    cell = await session.run(f"t = 'a{separator}b'\nimport warnings\nwarnings.warn('third')")

    assert cell.stderr == "<cell 1>:3: UserWarning: third\n  warnings.warn('third')\n"


@each_separator
async def test_a_syntax_error_of_the_compiler_shows_its_line(session, separator):
    cell = await session.run(f"t = 'a{separator}b'\nx = 1\nreturn 5")

    assert 'File "<cell 1>", line 3\n    return 5\n' in cell.error.traceback


PREFIXES = {
    "blank lines": "\n\n\n",
    "lines of spaces": "   \n\t\n",
    "a magic": "%time x = 1\n",
    "a command": "!true\n",
    "an assigned command": "lines = !echo a\n",
    "a continued command": "!true \\\n  && true\n",
    "an environment variable": "%env SOME=1\n",
    "a timed cell": "%%time\n",
    "a captured cell": "# about it\n\n%%capture out\n",
    "a timed and captured cell": "%%time\n%%capture out\n",
    "help": "len?\n",
    "an exported magic": "get_ipython().run_line_magic('time', 'x = 1')\n",
    "a future import": "from __future__ import annotations\n",
    "a form feed": "\x0c\n",
    "CRLF": "\r\n\r\n",
}
each_prefix = pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())


@each_prefix
async def test_the_lines_after_a_prefix_are_right(session, prefix):
    code = (
        prefix
        + "def f():\n    return 1 / 0\nclass C:\n    x = 1\nclass D:\n    def m(self): return 2\nimport warnings\nwarnings.warn('w')\nf()"
    )
    cell = await session.run(code)
    line = prefix.count("\n") + 2

    assert f'File "<cell 1>", line {line}, in f\n    return 1 / 0\n           ~~^~~\n' in cell.error.traceback
    sources = await session.value("import inspect; [inspect.getsource(each) for each in (f, C, D, D.m)]")
    assert sources == [
        "def f():\n    return 1 / 0\n",
        "class C:\n    x = 1\n",
        "class D:\n    def m(self): return 2\n",
        "    def m(self): return 2\n",
    ]
    assert await session.value("[inspect.getsourcelines(each)[1] for each in (f, C, D)]") == [
        line - 1,
        line + 1,
        line + 3,
    ]


PASTED = {
    "prompts": ">>> def f(x):\n...     return 1 / x\n...\n>>> class C:\n...     x = 1\n...\n>>> f(0)",
    "IPython's prompts": "In [1]: def f(x):\n   ...:     return 1 / x\n   ...:\n\nIn [2]: class C:\n   ...:     x = 1\n   ...:\nIn [3]: f(0)",
    "an indent": "    def f(x):\n        return 1 / x\n    class C:\n        x = 1\n    f(0)",
    "blank lines and an indent": "\n\n    def f(x):\n        return 1 / x\n    class C:\n        x = 1\n    f(0)",
}


@pytest.mark.parametrize("code", PASTED.values(), ids=PASTED.keys())
async def test_the_source_of_pasted_text_is_the_code_that_runs(session, code):
    cell = await session.run(code)

    assert "in f\n    return 1 / x\n           ~~^~~\n" in cell.error.traceback
    assert await session.value("import inspect; [inspect.getsource(f), inspect.getsource(C)]") == [
        "def f(x):\n    return 1 / x\n",
        "class C:\n    x = 1\n",
    ]


async def test_inspect_finds_the_last_of_several_classes_of_one_name(session):
    await session.run("class C:\n    x = 1\nclass C:\n    x = 2")

    assert await session.value("import inspect; inspect.getsource(C)") == "class C:\n    x = 2\n"


async def test_a_class_is_found_by_its_methods(session):
    await session.run("class C:\n    def m(self): return 1\nkept = C\nclass C:\n    def m(self): return 2")

    assert "return 1" in await session.value("import inspect; inspect.getsource(kept)")
    assert "return 2" in await session.value("inspect.getsource(C)")


async def test_a_class_that_no_cell_defines_has_no_source(session):
    cell = await session.run("import inspect\nC = type('C', (), {})\ninspect.getsource(C)")

    assert cell.error.ename in {"OSError", "TypeError"}


async def test_line_numbers_after_a_continued_string_are_right(session):
    cell = await session.run('s = """\none\u2028two\nthree"""\n\n1 / 0')

    assert place(1, 5, "1 / 0") in cell.error.traceback


@pytest.mark.parametrize("line", ["%time 1 / 0", "%timeit 1 / 0", "x = %time 1 / 0"])
async def test_a_line_with_a_magic_is_shown_without_carets(session, line):
    cell = await session.run(f"x = 1\n{line}\ny = 2")

    assert f'File "<cell 1>", line 2, in <module>\n    {line}\n' in cell.error.traceback
    assert not [each for each in cell.error.traceback.splitlines() if not each.strip()]


async def test_lines_next_to_a_magic_keep_their_carets(session):
    cell = await session.run("%time x = 1\n1 / 0")

    assert "    1 / 0\n    ~~^~~\n" in cell.error.traceback
