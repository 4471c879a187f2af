"""Notebook habits: `!cmd`, `%pip`, `%%time` and their kin, translated to Python before analysis. No IPython.

A cell that is Python stays as it is. Where Python refuses a line that begins with `%` or `!`, assigns from one, or
ends in `?`, that line is replaced by a call of the same place, and the cell is looked at again: so nothing inside a
string or a longer expression is ever taken for a magic, and line numbers stay.
"""

import ast
import re
import textwrap
from typing import Final, NamedTuple

from skep_workers.session.capturing import Capture
from skep_workers.session.magics.pasted import may_be_pasted, with_plain_line_ends, without_prompts
from skep_workers.session.magics.table import CELL_MAGICS, HELPER, LINE_MAGICS, RUN_HERE, split_timing_options

Place = tuple[str, int, int, str]  # as SyntaxError takes it: file, line, column, text

_PARSE: Final = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


class UnknownMagic(SyntaxError):
    """A magic that is not in the table; the text names it and those that are."""

    __module__ = "builtins"  # tracebacks then name it without a module, which tells its readers nothing


class BadMagic(SyntaxError):
    """What follows a magic can't be read, or it stands where it can't."""

    __module__ = "builtins"  # as above


class Translated(NamedTuple):
    """Python source, whether the whole cell is to be timed, and what of its output is to be kept."""

    source: str
    is_timed: bool = False
    capture: Capture | None = None


class _Head(NamedTuple):
    """The cell magics that a cell begins with: what they ask for, and the one call that some of them make of it."""

    is_timed: bool = False
    capture: Capture | None = None
    call: str | None = None


_ASSIGNED: Final = re.compile(r"^(\s*)(\S.*?)\s*(?<![=!<>%+\-*/&|^@:])=(?!=)\s*(!{1,2}|%)\s*(.*)$", re.DOTALL)
_HELPED: Final = re.compile(r"(%{0,2}(?!\d)[\w*]+(?:\.[\w*]+|\[-?\d+\])*)\s*(\?{1,2})$")
_ASKED: Final = re.compile(r"(\?{1,2})\s*(%{0,2}[\w*.\[\]-]*)\s*(\?{0,2})")
# What notebooks become when they are exported as scripts.
_EXPORTED_MARK: Final = "get_ipython()."
_EXPORTED: Final = re.compile(
    r"^(\s*(?:[\w., \t]+=[ \t]*)?)get_ipython\(\)\.(run_line_magic|run_cell_magic|magic|system|getoutput)\(",
    re.MULTILINE,
)
_MAX_STATEMENT_LINES: Final = 100  # that are looked at for where a statement begins that ends in a `?`


def is_plain(source: str) -> bool:
    """Return whether there is nothing to translate; costs a cell next to nothing. Other source is parsed for it."""
    return not any(mark in source for mark in "%!?") and not may_be_pasted(source) and _EXPORTED_MARK not in source


def translate(source: str, filename: str = "<cell>") -> Translated:
    """Return Python source for a cell; lines that are wrong otherwise come back as they are.

    Raises UnknownMagic, and BadMagic for a known one that can't be read.
    """
    source = with_plain_line_ends(source)
    if is_plain(source):
        return Translated(source)
    if _EXPORTED_MARK in source:
        source = _EXPORTED.sub(rf"\1{HELPER}.\2(", source)
    if may_be_pasted(source):
        source = _cleaned(source)
    lines = source.split("\n")
    head = _take_cell_magics(lines, filename) if "%%" in source else _Head()
    if head.call is None:
        _translate_lines(lines, filename)
    return Translated("\n".join(lines), head.is_timed, head.capture)


def _cleaned(source: str) -> str:
    """Take off an indent and prompts, unless Python takes the source as it is; a cell magic's text stays."""
    lines = source.split("\n")
    number = _first_code_line(lines)
    if number is not None and lines[number].lstrip().startswith("%%"):
        return source if lines[number].startswith("%%") else textwrap.dedent(source)
    return without_prompts(source) if _first_wrong_line(source) is not None else source


def begins_with_cell_magic(source: str) -> bool:
    """Return whether its first line, but for comments and blank ones, is a cell magic."""
    lines = source.split("\n")
    number = _first_code_line(lines)
    return number is not None and lines[number].startswith("%%")


def _first_code_line(lines: list[str]) -> int | None:
    for number, line in enumerate(lines):
        text = line.strip()
        if text and not text.startswith("#"):
            return number
    return None


def _take_cell_magics(lines: list[str], filename: str) -> _Head:
    """Take the cell magics off that a cell begins with, behind comments and blank lines at most."""
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
    """Put the call that a cell magic is in the place of all of its cell."""
    magic = CELL_MAGICS.get(name)
    if magic is None or magic.cell is None:
        hint = f" (there is the line magic %{name})" if name in LINE_MAGICS else ""
        raise _unknown(f"%%{name}", [f"%%{known}" for known in CELL_MAGICS], place, hint)
    body = "\n".join(lines[number + 1 :])
    if name in RUN_HERE:
        above = number + 1
        translated = translate("\n" * above + body, place[0])
        if translated.is_timed or translated.capture is not None:
            raise BadMagic(f"%%time and %%capture can't stand behind %%{name}", place)
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
        compile(source, "<magic>", "exec", _PARSE, dont_inherit=True)
    except SyntaxError as exc:
        return exc.lineno
    except (ValueError, MemoryError, RecursionError):  # the compiler says it again, to the user
        return None
    return None


def _translate_at(lines: list[str], number: int, filename: str) -> bool:
    """Put Python in the place of the magic at this line, with the lines that continue it; False if there is none."""
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
    """Return the Python for a line that is a magic, None for one that isn't."""
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
            raise BadMagic(f"%%{name} has to come first in its cell: only comments may stand before it", place)
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
    """Answer a `?` at the end of a statement: about its last name, in the place of all of it."""
    text = lines[number].rstrip()
    helped = _HELPED.search(text)
    if helped is None:
        return False
    without = text[: helped.start(2)]
    for start in range(number, max(-1, number - _MAX_STATEMENT_LINES), -1):
        if start > 0 and lines[start - 1].endswith("\\"):
            continue  # it begins further up
        if _is_python(textwrap.dedent("\n".join([*lines[start:number], without]))):
            indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
            lines[start : number + 1] = [f"{indent}{_help(helped[1], helped[2])}", *[""] * (number - start)]
            return True
    return False


def _help(name: str, marks: str) -> str:
    return f"{HELPER}.help({name!r}, True)" if len(marks) > 1 else f"{HELPER}.help({name!r})"


def _is_python(source: str) -> bool:
    try:
        compile(source, "<magic>", "exec", _PARSE, dont_inherit=True)
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
