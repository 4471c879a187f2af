"""Translates `!cmd`, `%pip`, `%%time` and similar notebook syntax to Python before analysis, without IPython.

A cell that is valid Python is left unchanged. If Python rejects a line that begins with `%` or `!`, assigns from one,
or ends in `?`, that line is replaced by a call in the same place, and the cell is parsed again. So nothing inside a
string or a longer expression is ever mistaken for a magic, and line numbers don't change.
"""

import ast
import re
import textwrap
from typing import Final, NamedTuple

from skep_workers.session.errors.compiler_warnings import quiet_compile
from skep_workers.session.magics.capture import Capture
from skep_workers.session.magics.pasted import begins_with_prompt, may_be_pasted, with_plain_line_ends, without_prompts
from skep_workers.session.magics.table import CELL_MAGICS, LINE_MAGICS, RUN_HERE, split_timing_options
from skep_workers.session.runtime.internals import HELPER

Place = tuple[str, int, int, str]  # in the form that SyntaxError expects: file, line, column, text

_PARSE: Final = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


class UnknownMagic(SyntaxError):
    """A magic that doesn't exist; the text names it and the magics that do."""

    __module__ = "builtins"  # so that tracebacks omit the module, which means nothing to their readers


class BadMagic(SyntaxError):
    """A magic whose arguments can't be parsed, or that is in the wrong place."""

    __module__ = "builtins"  # as above


class Translated(NamedTuple):
    """Python source, whether to time the whole cell, and which of its output to capture.

    shown: the cell as tracebacks show it: with its magics, but without prompts and common indent.
    """

    source: str
    shown: str
    is_timed: bool = False
    capture: Capture | None = None


class _Head(NamedTuple):
    """The cell magics at the beginning of a cell: what they request, and the call that replaces the cell, if any."""

    is_timed: bool = False
    capture: Capture | None = None
    call: str | None = None


_ASSIGNED: Final = re.compile(r"^(\s*)(\S.*?)\s*(?<![=!<>%+\-*/&|^@:])=(?!=)\s*(!{1,2}|%)\s*(.*)$", re.DOTALL)
_HELPED: Final = re.compile(r"(%{0,2}(?!\d)[\w*]+(?:\.[\w*]+|\[-?\d+\])*)\s*(\?{1,2})$")
_ASKED: Final = re.compile(r"(\?{1,2})\s*(%{0,2}[\w*.\[\]-]*)\s*(\?{0,2})")
# The calls that magics become when a notebook is exported as a script.
_EXPORTED_MARK: Final = "get_ipython()."
_EXPORTED: Final = re.compile(
    r"^(\s*(?:[\w., \t]+=[ \t]*)?)get_ipython\(\)\.(run_line_magic|run_cell_magic|magic|system|getoutput)\(",
    re.MULTILINE,
)
_BYTE_ORDER_MARK: Final = "\ufeff"  # the first character of a file that some editors of Windows wrote
_MAX_STATEMENT_LINES: Final = 100  # to search upwards for the beginning of a statement that ends in `?`


def is_plain(source: str) -> bool:
    """Return whether there is certainly nothing to translate. This check is very fast; parsing the source is not."""
    return not any(mark in source for mark in "%!?") and not may_be_pasted(source) and _EXPORTED_MARK not in source


def translate(source: str, filename: str = "<cell>") -> Translated:
    """Return Python source for a cell; lines with other mistakes are left unchanged.

    Raises UnknownMagic, or BadMagic for a known magic that can't be parsed.
    """
    source = with_plain_line_ends(source.removeprefix(_BYTE_ORDER_MARK))
    if is_plain(source):
        return Translated(source, source)
    if may_be_pasted(source):
        source = _cleaned(source)
    shown = source
    if _EXPORTED_MARK in source:
        source = _EXPORTED.sub(rf"\1{HELPER}.\2(", source)
    lines = source.split("\n")
    head = _remove_cell_magics(lines, filename) if "%%" in source else _Head()
    if head.call is None:
        _translate_lines(lines, filename)
    return Translated("\n".join(lines), shown, head.is_timed, head.capture)


def _cleaned(source: str) -> str:
    """Remove indent and prompts, unless the source is meant as Python; the text of a cell magic keeps its prompts."""
    lines = source.split("\n")
    number = _first_code_line(lines)
    if number is not None and lines[number].lstrip().startswith("%%"):
        return source if lines[number].startswith("%%") else textwrap.dedent(source)
    is_pasted = begins_with_prompt(source) or _first_wrong_line(source) is not None
    return without_prompts(source) if is_pasted else source


def begins_with_cell_magic(source: str) -> bool:
    """Return whether the first line that is neither blank nor a comment is a cell magic."""
    lines = source.split("\n")
    number = _first_code_line(lines)
    return number is not None and lines[number].startswith("%%")


def _first_code_line(lines: list[str]) -> int | None:
    for number, line in enumerate(lines):
        text = line.strip()
        if text and not text.startswith("#"):
            return number
    return None


def _remove_cell_magics(lines: list[str], filename: str) -> _Head:
    """Remove the cell magics at the beginning of a cell, possibly after comments and blank lines, and return them."""
    head = _Head()
    while True:
        number = _first_code_line(lines)
        if number is None or not lines[number].startswith("%%"):
            return head
        first = lines[number]
        place = (filename, number + 1, 1, first)
        asked = _HELPED.fullmatch(first.strip())
        if asked is not None:
            return head
        name, _, rest = first[2:].strip().partition(" ")
        rest = rest.strip()
        if name == "capture":
            try:
                head = head._replace(capture=Capture.read(rest))
            except ValueError as exc:
                raise BadMagic(str(exc), place) from None
            lines[number] = ""
        elif name == "time":
            head = head._replace(is_timed=True)
            lines[number] = rest
            if rest:
                return head
        else:
            return head._replace(call=_cell_call(lines, number, name, rest, place))


def _cell_call(lines: list[str], number: int, name: str, rest: str, place: Place) -> str:
    """Replace a whole cell by the call that its cell magic stands for."""
    magic = CELL_MAGICS.get(name)
    if magic is None or magic.cell is None:
        hint = f" (there is the line magic %{name})" if name in LINE_MAGICS else ""
        raise _unknown(f"%%{name}", [f"%%{known}" for known in CELL_MAGICS], place, hint)
    body = "\n".join(lines[number + 1 :])
    if name in RUN_HERE:
        above = number + 1
        translated = translate("\n" * above + body, place[0])
        if translated.is_timed or translated.capture is not None:
            raise BadMagic(f"%%time and %%capture can't follow %%{name}", place)
        body = translated.source[above:]
    try:
        call = magic.cell(rest, body)
    except ValueError as exc:
        raise BadMagic(str(exc), place) from None
    lines[:] = [*[""] * number, call]
    return call


def _translate_lines(lines: list[str], filename: str) -> None:
    for _ in range(len(lines) + 1):
        wrong = _first_wrong_line("\n".join(lines))
        if wrong is None or wrong > len(lines) or not _translate_at(lines, wrong - 1, filename):
            return


def _first_wrong_line(source: str) -> int | None:
    try:
        quiet_compile(source, "<magic>", "exec", _PARSE)
    except SyntaxError as exc:
        return exc.lineno
    except (ValueError, MemoryError, RecursionError):  # the compiler will report it to the user
        return None
    return None


def _translate_at(lines: list[str], number: int, filename: str) -> bool:
    """Replace the magic in this line and its continuation lines by Python; return False if there is no magic."""
    first = number
    while first > 0 and lines[first - 1].endswith("\\"):
        first -= 1
    for start in dict.fromkeys((first, number)):
        if start > first and _translate_question(lines, number):
            return True
        end = start
        while end + 1 < len(lines) and lines[end].endswith("\\"):
            end += 1
        text = " ".join([*(line[:-1].rstrip() for line in lines[start:end]), lines[end]]) if end > start else lines[end]
        replaced = _translate_line(text, (filename, start + 1, 1, lines[start]))
        if replaced is not None:
            lines[start : end + 1] = [replaced, *[""] * (end - start)]
            return True
    return _translate_question(lines, number)


def _translate_line(line: str, place: Place) -> str | None:
    """Return the Python for a line that is a magic, or None for any other line."""
    indent = line[: len(line) - len(line.lstrip())]
    text = line.strip()
    if text.startswith("!!"):
        return f"{indent}{HELPER}.shell_lines({text[2:].strip()!r})"
    if text.startswith("!"):
        return f"{indent}{HELPER}.shell({text[1:].strip()!r})"
    helped = _HELPED.fullmatch(text)
    if helped is not None:
        return f"{indent}{_help(helped[1], helped[2])}"
    asked = _ASKED.fullmatch(text)
    if asked is not None:
        return f"{indent}{_help(asked[2], max(asked[1], asked[3]))}"
    if text.startswith("%%"):
        name = text[2:].partition(" ")[0]
        if name in CELL_MAGICS:
            raise BadMagic(f"%%{name} must be the first line of its cell; only comments may precede it", place)
        raise _unknown(f"%%{name}", [f"%%{known}" for known in CELL_MAGICS], place)
    if text.startswith("%"):
        return indent + _line_magic(text[1:], place)
    assigned = _ASSIGNED.match(line)
    if assigned is not None and _is_python(f"{assigned[2]} = 0"):
        indent, target, mark, rest = assigned.groups()
        if mark == "%":
            return f"{indent}{target} = {_line_magic(rest, place)}"
        return f"{indent}{target} = {HELPER}.shell_lines({rest.strip()!r})"
    return None


def _translate_question(lines: list[str], number: int) -> bool:
    """Replace a statement that ends in `?` by the help for its last name; return False if there is none."""
    text = lines[number].rstrip()
    helped = _HELPED.search(text)
    if helped is None:
        return False
    without = text[: helped.start(2)]
    for start in range(number, max(-1, number - _MAX_STATEMENT_LINES), -1):
        if start > 0 and lines[start - 1].endswith("\\"):
            continue  # the statement begins further up
        if _is_python(textwrap.dedent("\n".join([*lines[start:number], without]))):
            indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
            lines[start : number + 1] = [f"{indent}{_help(helped[1], helped[2])}", *[""] * (number - start)]
            return True
    return False


def _help(name: str, marks: str) -> str:
    return f"{HELPER}.help({name!r}, True)" if len(marks) > 1 else f"{HELPER}.help({name!r})"


def _is_python(source: str) -> bool:
    try:
        quiet_compile(source, "<magic>", "exec", _PARSE)
    except (SyntaxError, ValueError):
        return False
    return True


def _line_magic(text: str, place: Place) -> str:
    name, rest = [*text.strip().split(None, 1), "", ""][:2]
    magic = LINE_MAGICS.get(name)
    if magic is None or magic.line is None:
        hint = f" (there is the cell magic %%{name})" if name in CELL_MAGICS else ""
        raise _unknown(f"%{name}", [f"%{known}" for known in LINE_MAGICS], place, hint)
    rest = rest.strip()
    if name in RUN_HERE:
        options, statement = split_timing_options(rest)
        rest = options + (_translate_line(statement, place) or statement)
    try:
        return magic.line(rest)
    except ValueError as exc:
        raise BadMagic(str(exc), place) from None


def _unknown(name: str, known: list[str], place: Place, hint: str = "") -> UnknownMagic:
    return UnknownMagic(f"unknown magic {name}{hint}; known are {', '.join(known)}", place)
