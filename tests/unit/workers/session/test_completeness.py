"""Whether code is complete: a front end asks this when the user presses Enter."""

import warnings

import pytest

from skep_workers.session.magics.completeness import completeness

COMPLETE = [
    "", "a = 1", "# only a comment", "1\\\n+2", "if True:\n    a=1\n", "if True:\n    a=1\n    ", "if x: y", "f(\n    1)",
    "await x", "!ls (", "x = !ls", "%cd ..", "%nope", "zip?", "%%bash\necho\n", "# c\n%%bash\necho\n\n", "%%bash?",
    "a = '''\n  x'''", "def f(): pass\n\n", ">>> a = 1", "    a = 1", "s = '\\d'", "a = 1\r\n",
    "for x in y:\n    !ls\n", "f'{x}'", "print('\\N{EM DASH}')",
]  # fmt: skip
INCOMPLETE = {
    "for a in range(5):": 4, "for a in range(5):\n    if a > 0:": 8, "a = [1,\n2,": 0, "\\\r\n": 0, "a = '''\n   hi": 3,
    "if True:\n    a=1": 4, 'def foo():\n    """': 4, "%%bash": 0, "%%bash\necho": 0, "!ls \\": 0, "a = (": 0,
    "@decorated": 0, "async def f():": 4, "class A:\n\tdef f(self):": 8, "try:\n    x\n": 4, "for x in y:\n    !ls": 4,
    "x = {": 0, "with a:\n    f(\n        1)": 8, "if x:\n    pass\nelse:": 4,
}  # fmt: skip
INVALID = [
    "raise = 2", "def a():\n x=1\n global x", "a \\ ", ")", "](", "())(", "}{", "'abc", "x y", "a = 1\n  b = 2",
    "x = 1\n%%bash\necho", "(\n))",
]  # fmt: skip


@pytest.mark.parametrize("code", COMPLETE)
def test_code_is_complete(code):
    assert completeness(code) == {"status": "complete", "indent": None}


@pytest.mark.parametrize(("code", "indent"), INCOMPLETE.items())
def test_code_is_incomplete(code, indent):
    assert completeness(code) == {"status": "incomplete", "indent": indent}


@pytest.mark.parametrize("code", INVALID)
def test_code_is_invalid(code):
    assert completeness(code) == {"status": "invalid", "indent": None}


@pytest.mark.parametrize("code", ["'\\d'", "x is 5", "assert (1, 'x')", "'x'()"])
def test_no_warning_is_shown(code):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        completeness(code)

    assert caught == []


@pytest.mark.parametrize("first", "12aA\"'\\()[]{}%!?:#\n\t \x00\x0b\ud800")
@pytest.mark.parametrize("second", "1a\"'\\(]%!?:\n\x00")
def test_any_text_can_be_checked(first, second):
    assert completeness(first + second)["status"] in {"complete", "incomplete", "invalid"}
