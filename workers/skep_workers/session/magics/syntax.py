"""Notebook habits: `!cmd`, `%pip`, `%%time` and their kin, translated to Python before analysis. No IPython.

A cell that is Python stays as it is. Where Python refuses a line that begins with `%` or `!`, assigns from one, or
ends in `?`, that line is replaced by a call of the same place, and the cell is looked at again: so nothing inside a
string or a longer expression is ever taken for a magic, and line numbers stay.
"""

import ast
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from skep_workers.session.capturing import Capture

Place = tuple[str, int, int, str]  # as SyntaxError takes it: file, line, column, text

HELPER: Final = "__skep_magic__"  # a built-in name, see calls.py


class UnknownMagic(SyntaxError):
    """A magic that is not in the table; the text names it and those that are."""

    __module__ = "builtins"  # tracebacks then name it without a module, which tells its readers nothing


class BadMagic(SyntaxError):
    """What follows a magic can't be read."""

    __module__ = "builtins"  # as above


class Translated(NamedTuple):
    """Python source, whether the whole cell is to be timed, and what of its output is to be kept."""

    source: str
    is_timed: bool = False
    capture: Capture | None = None


def _call(name: str) -> Callable[[str], str]:
    return lambda rest: f"{HELPER}.{name}({rest!r})"


def _time(rest: str) -> str:
    """Time one line; an expression keeps its value, and may await."""
    if not rest:
        return "None"
    try:
        compile(rest, "<magic>", "eval", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return f"{HELPER}.start_timer(); {rest.rstrip('; ')}; {HELPER}.stop_timer()"
    return f"{HELPER}.stop_timer({HELPER}.start_timer(), ({rest}))"


def _markup(mime: str) -> Callable[[str, str], str]:
    return lambda _, body: f"{HELPER}.markup({mime!r}, {body!r})"


def _command(name: str) -> Callable[[str], str]:
    return lambda rest: f"{HELPER}.shell({f'{name} {rest}'.strip()!r})"


_PYLAB: Final = "import numpy, matplotlib; from matplotlib import pyplot; np, plt = numpy, pyplot; from pylab import *"

LINE_MAGICS: Final[dict[str, Callable[[str], str]]] = {
    "pip": _call("pip"),
    "cd": _call("cd"),
    "pwd": _call("pwd"),
    "env": _call("env"),
    "set_env": _call("env"),
    "who": _call("who"),
    **{name: _command(name) for name in ("ls", "cat", "cp", "mv", "rm", "mkdir", "rmdir")},
    "time": _time,
    "timeit": _call("timeit"),
    "matplotlib": lambda _: "pass",
    "config": lambda _: "pass",
    "load_ext": lambda _: "pass",
    "reload_ext": lambda _: "pass",
    "autoreload": lambda _: "pass",
    "precision": lambda _: "pass",
    "pylab": lambda _: _PYLAB,
}

CELL_MAGICS: Final[dict[str, Callable[[str, str], str]]] = {
    "bash": lambda rest, body: f"{HELPER}.bash({rest!r}, {body!r})",
    "sh": lambda rest, body: f"{HELPER}.bash({rest!r}, {body!r})",
    "script": lambda rest, body: f"{HELPER}.script({rest!r}, {body!r})",
    "python": lambda rest, body: f"{HELPER}.python({rest!r}, {body!r})",
    "python3": lambda rest, body: f"{HELPER}.python({rest!r}, {body!r})",
    "writefile": lambda rest, body: f"{HELPER}.writefile({rest!r}, {body!r})",
    "file": lambda rest, body: f"{HELPER}.writefile({rest!r}, {body!r})",
    "timeit": lambda rest, body: f"{HELPER}.timeit_cell({rest!r}, {body!r})",
    "html": _markup("text/html"),
    "HTML": _markup("text/html"),
    "javascript": _markup("application/javascript"),
    "js": _markup("application/javascript"),
    "latex": _markup("text/latex"),
    "markdown": _markup("text/markdown"),
    "svg": _markup("image/svg+xml"),
    "SVG": _markup("image/svg+xml"),
}

_ASSIGNED: Final = re.compile(r"^(\s*)([^\W\d][\w.]*)\s*=\s*([!%])\s*(.*)$")
_HELP: Final = re.compile(r"^(\s*)(\?{1,2})?\s*([^\W\d][\w.]*)\s*(\?{1,2})?\s*$")


def translate(source: str, filename: str = "<cell>") -> Translated:
    """Give Python source for a cell. Raises UnknownMagic; lines that are wrong otherwise come back as they are."""
    head, is_timed, capture = source.lstrip("\n"), False, None
    if head.startswith("%%"):
        first, _, body = head.partition("\n")
        name, _, rest = first[2:].strip().partition(" ")
        if name == "capture":
            try:
                source, capture = f"\n{body}", Capture.read(rest)
            except ValueError as exc:
                raise BadMagic(str(exc), (filename, 1, 1, first)) from None
        elif name == "time":
            source, is_timed = f"{rest.strip()}\n{body}", True
        else:
            make = CELL_MAGICS.get(name)
            if make is None:
                raise _unknown(
                    f"%%{name}", [f"%%{known}" for known in (*CELL_MAGICS, "capture", "time")], (filename, 1, 1, first)
                )
            return Translated(make(rest.strip(), body))
    if not any(mark in source for mark in "%!?"):
        return Translated(source, is_timed, capture)
    lines = source.split("\n")
    for _ in range(len(lines) + 1):
        wrong = _first_wrong_line("\n".join(lines))
        if wrong is None or wrong > len(lines):
            break
        replaced = _translate_line(lines[wrong - 1], (filename, wrong, 1, lines[wrong - 1]))
        if replaced is None:
            break
        lines[wrong - 1] = replaced
    return Translated("\n".join(lines), is_timed, capture)


def _first_wrong_line(source: str) -> int | None:
    try:
        compile(source, "<magic>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as exc:
        return exc.lineno
    except ValueError:
        return None
    return None


def _translate_line(line: str, place: Place) -> str | None:
    """Give the Python for a line that is a magic, None for one that isn't."""
    indent = line[: len(line) - len(line.lstrip())]
    text = line.strip()
    assigned = _ASSIGNED.match(line)
    if assigned:
        indent, target, mark, rest = assigned.groups()
        if mark == "!":
            return f"{indent}{target} = {HELPER}.shell_lines({rest!r})"
        return f"{indent}{target} = {_line_magic(rest, place)}"
    if text.startswith("!"):
        return f"{indent}{HELPER}.shell({text.lstrip('!')!r})"
    if text.startswith("%"):
        return indent + _line_magic(text.lstrip("%"), place)
    helped = _HELP.match(line)
    if helped and (helped.group(2) or helped.group(4)):
        return f"{indent}{HELPER}.help({helped.group(3)!r})"
    return None


def _line_magic(text: str, place: Place) -> str:
    name, _, rest = text.strip().partition(" ")
    make = LINE_MAGICS.get(name)
    if make is None:
        raise _unknown(f"%{name}", [f"%{known}" for known in LINE_MAGICS], place)
    return make(rest.strip())


def _unknown(name: str, known: list[str], place: Place) -> UnknownMagic:
    return UnknownMagic(f"unknown magic {name}; known are {', '.join(known)}", place)
