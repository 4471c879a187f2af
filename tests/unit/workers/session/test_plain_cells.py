"""Which cells provably change nothing except the names that they bind."""

import ast
import builtins

import pytest

from skep_workers.session.compilation.plain_cells import Uses, reads_plain_values, uses_of


def uses(source):
    return uses_of(ast.parse(source))


@pytest.mark.parametrize(
    ("source", "read", "bound"),
    [
        ("1+1", "", ""),
        ("x = 1", "", "x"),
        ("x += y", "x y", "x"),
        ("total = sum([a, b]) if a else -b", "sum a b", "total"),
        ("for i in range(3): x = i * 2\nf'{x:>5}'", "range x i", "i x"),
        ("(y := 3) + len(text[1:])", "len text", "y"),
        ("squares = [n * n for n in range(5)]", "range n", "squares n"),
        ("while n: n -= 1", "n", "n"),
        ("assert x == 3", "x", ""),
    ],
)
def test_a_cell_of_plain_values_is_recognised(source, read, bound):
    assert uses(source) == Uses(frozenset(read.split()), frozenset(bound.split()))


@pytest.mark.parametrize(
    "source",
    [
        "f()", "x.y", "x.append(1)", "x.y = 1", "x[0] = 1", "x[0] += 1", "del x", "import os", "from os import path",
        "def f(): pass", "class C: pass", "lambda: 1", "with x: pass", "try:\n    1\nexcept E: pass", "global x",
        "sorted(x, key=f)", "max(x, key=f)", "print(1)", "getattr(x, 'y')", "setattr(x, 'y', 1)", "exec('1')",
        "eval('1')", "globals()['x']()", "open('f')", "map(f, x)", "type(x)", "(yield)", "await x", "raise x",
        "match x:\n    case 1: pass", "@f\ndef g(): pass", "x()()", "input()", "iter(x)", "next(x)", "isinstance(x, y)",
    ],
)  # fmt: skip
def test_any_other_cell_may_change_anything(source):
    assert uses(source) is None


@pytest.mark.parametrize("value", [1, 1.5, "text", b"bytes", True, None, 2j])
def test_scalars_are_plain(value):
    assert reads_plain_values(Uses(frozenset({"x"})), {"x": value})


class Text(str):
    """A subclass of str, which may have its own methods."""

    __slots__ = ()


@pytest.mark.parametrize("value", [[], {}, (1,), Text("x"), object(), len, range(3), frozenset()])
def test_other_values_are_not_plain(value):
    assert not reads_plain_values(Uses(frozenset({"x"})), {"x": value})


def test_a_built_in_function_counts_only_if_it_is_the_original(monkeypatch):
    assert reads_plain_values(Uses(frozenset({"divmod"})), {})
    assert not reads_plain_values(Uses(frozenset({"divmod"})), {"divmod": lambda _: 1})
    assert not reads_plain_values(Uses(frozenset({"missing"})), {})
    monkeypatch.setattr(builtins, "divmod", lambda *_: 1)
    assert not reads_plain_values(Uses(frozenset({"divmod"})), {})


def test_the_uses_of_cells_are_joined():
    one, other = Uses(frozenset("a"), frozenset("b")), Uses(frozenset("c"), frozenset("b"))

    assert one.joined(other) == Uses(frozenset("ac"), frozenset("b"))
    assert one.joined(None) is None
