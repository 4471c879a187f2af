"""docs/troubleshooting.md quotes texts, events, log lines and settings that the code has."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
PAGE: Final = (TOP / "docs" / "troubleshooting.md").read_text()
PROSE: Final = re.sub(r"```.*?```|`[^`\n]*`", "", PAGE, flags=re.DOTALL)
QUOTED: Final = sorted({" ".join(text.split()) for text in re.findall(r'"([^"]+)"', PROSE)})
DOTTED: Final = sorted(set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE)))
ERRORS: Final = sorted(set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", PAGE)))
METHODS: Final = {
    "files.put",
    "files.get",
    "outcome.text",
    "outcome.warnings",
    "http.server",
    "example.org",
}  # and a host
BUILT_IN: Final = {"NameError", "PermissionError", "FileNotFoundError"}


@cache
def texts() -> str:
    """Return all texts in the code, one a line, with … for what an f-string inserts."""
    found = []
    for folder in ("producer", "shared", "workers"):
        for path in (TOP / folder).rglob("*.py"):
            nodes = [*ast.walk(ast.parse(path.read_text()))]
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            found += [_text(node) for node in nodes if id(node) not in docstrings]
    return "\n".join(text for text in found if text)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
    return ""


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_text_is_in_the_code(quoted):
    parts = [part.strip(" .:;,") for part in quoted.split("…")]

    assert [part for part in parts if part]
    assert not [part for part in parts if part not in texts()]


@pytest.mark.parametrize("name", [name for name in DOTTED if name not in METHODS])
def test_an_event_a_warning_or_a_log_line_that_is_named_exists(name):
    assert name in texts().split("\n")


@pytest.mark.parametrize("name", [name for name in ERRORS if name not in BUILT_IN])
def test_an_error_that_is_named_exists(name):
    classes = "\n".join(path.read_text() for folder in ("shared", "workers") for path in (TOP / folder).rglob("*.py"))

    assert f"class {name}" in classes or name in texts().split("\n")
