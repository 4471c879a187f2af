r"""`$name` and `{expression}` in command lines and in the arguments of magics, as IPython expands them.

Each place is expanded separately. If one isn't Python or can't be evaluated, it is left to the shell unchanged, and the
others are expanded nevertheless. `{{` and `}}` around a text stand for single braces. Not expanded: `${name}`,
`\$name`, `$name` in single quotes, and `{a,b}` and `{}`, which have a meaning for the shell.
"""

import ast
import builtins
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from skep_workers.session.errors.parsing import parse_undisturbed

_DOLLAR: Final = re.compile(r"\$(\$?)([^\W\d]\w*)((?:\.[^\W\d]\w*)*)")
_CONVERSION: Final = re.compile(r"!([rsa])\s*$")
_CONVERSIONS: Final[dict[str, Callable[[object], str]]] = {"r": repr, "s": str, "a": ascii}
_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}


class Expanded(NamedTuple):
    """The text with the values inserted, and the reasons why expressions were left unchanged."""

    text: str
    problems: list[str]


def expand(text: str, names: Mapping[str, Any]) -> Expanded:
    """Return the text with the values of these names inserted. Runs user code; its exceptions become problems."""
    expander = _Expander(dict(names) if type(names) is not dict else names)
    return Expanded(expander.expanded(text), expander.problems)


class _Field(NamedTuple):
    """The content of braces: an expression, and how to format its value, as in an f-string."""

    code: Any
    conversion: str
    spec: str


class _Expander:
    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self.problems: list[str] = []

    def expanded(self, text: str) -> str:
        parts: list[str] = []
        at, quote = 0, ""
        while at < len(text):
            mark = text[at]
            taken, written = 1, mark
            if mark == "\\" and quote != "'":
                written = text[at : at + 2]
                taken = len(written)
            elif mark in "'\"" and quote in ("", mark):
                quote = "" if quote else mark
            elif mark == "$" and quote != "'":
                taken, written = self._dollar(text, at)
            elif mark == "{":
                taken, written = self._braces(text, at)
            parts.append(written)
            at += taken
        return "".join(parts)

    def _dollar(self, text: str, at: int) -> tuple[int, str]:
        """Return the number of characters that a `$` place has, and the text to write instead."""
        if text.startswith("${", at):
            return 2, "${"
        found = _DOLLAR.match(text, at)
        if found is None:
            return (2, "$$") if text.startswith("$$", at) else (1, "$")
        escaped, name, attributes = found.groups()
        if escaped:
            return found.end() - at, f"${name}{attributes}"
        if name not in self._names:
            return found.end() - at, found[0]
        value, left = self._names[name], attributes
        for attribute in attributes.split(".")[1:]:
            try:
                value = getattr(value, attribute)
            except AttributeError:
                break
            left = left[len(attribute) + 1 :]
        return found.end() - at, f"{self._written(value, found[0], '', '')}{left}"

    def _braces(self, text: str, at: int) -> tuple[int, str]:
        """Return the number of characters that a place in braces has, and the text to write instead."""
        end = _end_of(text, at)
        if end is None:
            return 1, "{"
        if text.startswith("{{", at) and _end_of(text, at + 1) == end - 1:
            return end + 1 - at, "{" + self.expanded(text[at + 2 : end - 1]) + "}"
        field = _read_field(text[at + 1 : end])
        if field is None or self._is_only_built_in(text[at + 1 : end].strip()):
            return 1, "{"
        whole = text[at : end + 1]
        try:
            value = eval(field.code, self._names)
        except Exception as exc:  # noqa: BLE001 - user code
            self.problems.append(f"{whole} is left unchanged: {type(exc).__name__}: {exc}")
            return len(whole), whole
        return len(whole), self._written(value, whole, field.conversion, field.spec)

    def _is_only_built_in(self, name: str) -> bool:
        """Return whether only a built-in function has this name: in `awk '{print}'`, `print` is a command of awk."""
        return name not in self._names and hasattr(builtins, name)

    def _written(self, value: object, whole: str, conversion: str, spec: str) -> str:
        try:
            converted = _CONVERSIONS[conversion](value) if conversion else value
            return format(converted, spec) if spec else str(converted)
        except Exception as exc:  # noqa: BLE001 - user code
            self.problems.append(f"{whole} is left unchanged: {type(exc).__name__}: {exc}")
            return whole


def _end_of(text: str, start: int) -> int | None:
    """Return where the bracket that opens here is closed. Brackets in strings don't count, if the string is closed."""
    expected: list[str] = []
    at = start
    while at < len(text):
        mark = text[at]
        if mark in _PAIRS:
            expected.append(_PAIRS[mark])
        elif expected and mark == expected[-1]:
            expected.pop()
            if not expected:
                return at
        elif mark in "'\"" and (close := text.find(mark, at + 1)) >= 0:
            at = close
        at += 1
    close = text.find("}", start)
    return close if close >= 0 and "{" not in text[start + 1 : close] else None


def _read_field(text: str) -> _Field | None:
    """Parse the content of braces; return None if it belongs to the shell: no expression, or a list of words."""
    tree = _expression(text)
    if tree is not None:
        return None if isinstance(tree.body, ast.Tuple) and not text.strip().startswith("(") else _field(tree, "", "")
    for place in (*(found.start() for found in re.finditer(":", text)), len(text)):
        head, spec = text[:place], text[place + 1 :]
        converted = _CONVERSION.search(head)
        tree = _expression(head[: converted.start()] if converted else head)
        # `{"key": 1}` is data, and `{a: 1}` is code of another language.
        if tree is not None and not spec.startswith(" ") and not isinstance(tree.body, ast.Constant):
            return _field(tree, converted[1] if converted else "", spec)
    return None


def _expression(text: str) -> ast.Expression | None:
    try:
        tree: ast.Expression = parse_undisturbed(ast.parse, text.strip(), "<command line>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree


def _field(tree: ast.Expression, conversion: str, spec: str) -> _Field:
    return _Field(compile(tree, "<command line>", "eval"), conversion, spec)
