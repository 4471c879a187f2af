"""Finalizers that the garbage collector runs in the middle of a parse, and that parse source themselves.

CPython 3.11 then raises `SystemError: AST constructor recursion depth mismatch`. A cell must not fail because of that.
"""

import ast
import gc
from contextlib import contextmanager

import pytest

from skep_workers.session.compilation.compiling import CellCompiler
from skep_workers.session.compilation.transforms import rewrite_awaits
from skep_workers.session.errors.compiler_warnings import quiet_compile
from skep_workers.session.errors.parsing import parse_undisturbed
from skep_workers.session.magics.completeness import completeness
from skep_workers.session.magics.expansion import expand

BODY = "".join(f"    y{number} = [x + {number}, (x, {{x: -x}})]\n" for number in range(50))
SOURCE = f"def f(x):\n{BODY}"
AWAITING = f"{SOURCE}    await x\n"
EXPRESSION = f"{{{'x + ' * 500}x}}"
THRESHOLDS = range(1, 60, 6)


class ParsesAtItsEnd:
    """An object in a reference cycle, so that only the garbage collector finds it."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        ast.parse("a + b")


@contextmanager
def collections_in_the_middle(threshold):
    """Run the collector after every `threshold` new objects, with three finalizers that parse waiting for it."""
    before = gc.get_threshold()
    gc.set_threshold(10**6)
    gc.collect(0)
    for _ in range(3):
        ParsesAtItsEnd()
    gc.set_threshold(threshold, 10**6, 10**6)  # only of the youngest generation, which is fast
    try:
        yield
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize(
    "parse",
    [
        lambda: CellCompiler().compile(SOURCE, "<cell 1>"),
        lambda: quiet_compile(SOURCE, "<cell 1>", "exec", ast.PyCF_ONLY_AST),
        lambda: rewrite_awaits(AWAITING, "<cell 1>", 0),
        lambda: completeness(f"{SOURCE}\n"),
        lambda: expand(EXPRESSION, {"x": 1}),
    ],
    ids=[
        "a cell",
        "source that is only looked at",
        "a cell to rewrite",
        "a completeness check",
        "a field of a command",
    ],
)
def test_a_finalizer_that_parses_does_not_break_the_parse_of(parse):
    for threshold in THRESHOLDS:
        with collections_in_the_middle(threshold):
            parsed = parse()
        assert parsed is not None


def test_the_collector_is_enabled_again_after_a_second_parse():
    calls = []

    def disturbed_once():
        calls.append(gc.isenabled())
        if len(calls) == 1:
            raise SystemError("AST constructor recursion depth mismatch (before=3, after=4)")
        return "parsed"

    assert parse_undisturbed(disturbed_once) == "parsed"
    assert calls == [True, False]
    assert gc.isenabled()


def test_any_other_error_is_raised_at_once():
    calls = []

    def fail():
        calls.append(None)
        raise SystemError("something else")

    with pytest.raises(SystemError, match="something else"):
        parse_undisturbed(fail)
    assert len(calls) == 1
