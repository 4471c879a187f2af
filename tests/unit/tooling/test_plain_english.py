"""The check of prose that `make lint` runs."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tooling" / "plain_english.py"


@pytest.fixture(scope="module")
def check():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("plain_english", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_english"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plain_english"]


@pytest.mark.parametrize(
    ("source", "phrases"),
    [
        ('def f():\n    """Give the id."""', ["a docstring that begins with Give", "Give the"]),
        ('def f():\n    """Take a snapshot of it."""', []),
        ('def f():\n    """Take over from the owner that died."""', []),
        ('def f():\n    """Take the lease."""', ["a docstring that begins with Take"]),
        ("x = 1  # made anew", ["anew"]),
        ("x = 'made anew'\nif x: pass\nelse: pass", []),
        ('"""The one there is, else a new one; see `anew`."""', ["else"]),
        ("def test_it_is_made_anew(): pass", ["anew in test_it_is_made_anew"]),
        ("# It is a list rather than a set.", []),
    ],
)
def test_it_finds_phrases_in_prose_and_not_in_code(check, source, phrases):
    assert [finding.phrase for finding in check.find_in_python("module.py", source)] == phrases


def test_in_markdown_code_is_no_prose(check):
    text = "Made anew.\n\n```python\nanew = 1\n```\n\nThen `anew`, and\nmade anew.\n"

    assert [finding.line for finding in check.find_in_markdown("page.md", text)] == [1, 8]


def test_in_lua_comments_are_prose(check):
    assert [finding.line for finding in check.find_in_lua("script.lua", "-- one\nlocal a = 1 -- anew\n")] == [2]
