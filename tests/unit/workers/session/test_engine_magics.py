"""Translating magics: Python is unchanged, line numbers are kept; and rewriting awaits."""

import ast
import importlib.util
from pathlib import Path

import pytest

from skep_workers.session.compilation.transforms import rewrite_awaits
from skep_workers.session.magics.syntax import UnknownMagic, translate
from skep_workers.session.magics.table import CELL_MAGICS, LINE_MAGICS
from skep_workers.session.runtime.internals import HELPER

TRANSLATED = {
    "!ls -l": f"{HELPER}.shell('ls -l')",
    "if x:\n  !ls": f"if x:\n  {HELPER}.shell('ls')",
    "  !ls\n  x": f"{HELPER}.shell('ls')\nx",
    "files = !ls": f"files = {HELPER}.shell_lines('ls')",
    "o.files = !ls": f"o.files = {HELPER}.shell_lines('ls')",
    "%cd ..": f"{HELPER}.cd('..')",
    "%pwd": f"{HELPER}.pwd('')",
    "here = %pwd": f"here = {HELPER}.pwd('')",
    "%time f(x)": f"{HELPER}.stop_timer({HELPER}.start_timer(), (f(x)))",
    "%time x = 1": f"{HELPER}.start_timer(); x = 1; {HELPER}.stop_timer()",
    "%matplotlib inline": "pass",
    "len?": f"{HELPER}.help('len')",
    "len??": f"{HELPER}.help('len', True)",
    "?a.b": f"{HELPER}.help('a.b')",
    "%%bash -x\necho 'a'": f"{HELPER}.script('bash -x', \"echo 'a'\")",
    "%%writefile a.txt\nx\n": f"{HELPER}.writefile('a.txt', 'x\\n')",
    "%%timeit x = 1\nx + 1": f"{HELPER}.timeit_cell('x = 1', 'x + 1')",
    "\n%%bash\nx": f"{HELPER}.script('bash', 'x')",
}  # fmt: skip


@pytest.mark.parametrize(("source", "python"), TRANSLATED.items())
def test_a_magic_becomes_a_call(source, python):
    assert translate(source).source.strip("\n") == python.strip("\n")


def test_a_timed_cell_is_marked_as_timed():
    assert translate("%%time\nx = 1").is_timed is True
    assert translate("x = 1").is_timed is False


def test_everything_in_the_tables_translates_to_python():
    for name in LINE_MAGICS:
        ast.parse(translate(f"%{name} x").source)
    for name in CELL_MAGICS:
        ast.parse(translate(f"%%{name} x\nbody").source)


@pytest.mark.parametrize("source", ["%nope", "x = %nope", "%%nope\nx", "for i in x:\n    %nope"])
def test_an_unknown_magic_is_named_with_its_place(source):
    with pytest.raises(UnknownMagic) as caught:
        translate(source, "<cell 7>")

    assert "nope; known are" in str(caught.value.msg)
    assert caught.value.filename == "<cell 7>"
    assert caught.value.lineno == (2 if source.startswith("for") else 1)


# Modules of the standard library that contain many %, ! and ?.
MODULES = ["argparse", "calendar", "locale", "pydoc", "string", "tarfile", "optparse", "urllib.parse", "zipfile"]


@pytest.mark.parametrize("name", MODULES)
def test_real_modules_are_unchanged(name):
    source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")

    assert translate(source).source == source


@pytest.mark.parametrize(
    "source", ["x = (", "def f(:\n  %", "'unclosed", "x ? y", "a ! b", "5 %", "?", "!", "%", "x = !", "(\n!ls\n)"]
)
def test_what_is_neither_python_nor_magic_never_hangs_or_breaks(source):
    try:
        translated = translate(source)
    except UnknownMagic:
        return

    assert translated.source.count("\n") == source.count("\n")


def test_line_numbers_are_unchanged():
    source = "!a\n\n%cd b\nx = !c\ny?\n1 / 0"

    assert ast.parse(translate(source).source).body[-1].lineno == 6


def rewritten(source):
    result = rewrite_awaits(source, "<cell>", 0)
    return (ast.unparse(result.tree), result.changes) if result is not None else None


def test_a_def_that_awaits_becomes_async():
    assert rewritten("def f(): await x") == (
        "async def f():\n    await x",
        ("line 1: def f awaits, so it was made async",),
    )


def test_a_lambda_that_awaits_becomes_a_helper_before_its_statement():
    python, changes = rewritten("a = 1\nb = [lambda: await x]")

    assert python == "a = 1\n\nasync def _awaiting_lambda_2_5():\n    return await x\nb = [_awaiting_lambda_2_5]"
    assert changes == ("line 2: a lambda awaits, so it was made an async function",)


@pytest.mark.parametrize(
    "source",
    ["x = 1", "async def f(): await x", "lambda a: await a", "def f():\n    async def g(): await x", "def f(:"],
)
def test_source_that_can_not_or_need_not_be_rewritten_is_left_unchanged(source):
    assert rewritten(source) is None


def test_a_rewritten_def_keeps_its_decorators_defaults_and_annotations():
    source = "@decorated\ndef f(a: int=1, *b, c=2, **d) -> str:\n    'doc'\n    await x"

    assert rewritten(source)[0] == '@decorated\nasync def f(a: int=1, *b, c=2, **d) -> str:\n    """doc"""\n    await x'
