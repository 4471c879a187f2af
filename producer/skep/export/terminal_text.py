"""Text for a terminal as HTML: colours, overwritten lines and movements of the cursor as they would look in the end.

Source of the sequences: ECMA-48, and the colours of xterm.
"""

import html
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from skep_shared.json_form import without_surrogates

MAX_COLUMNS: Final = 1000  # that a movement may leave blank: a short sequence must not make a long line
# What is edited is copied. Beyond these, text is appended to its line instead, so that no text takes quadratic time.
MAX_EDITED_COLUMNS: Final = 10_000
MAX_EDITED_PARTS: Final = 200
MAX_EDITS: Final = 100_000
_SEQUENCE: Final = re.compile(
    r"\x1b\[(?P<numbers>[0-9;:]*)(?P<rest>[\x20-\x3f]*)(?P<final>[\x40-\x7e])"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\|$)"  # OSC and other strings
    r"|\x1b[\x20-\x2f]*[\x30-\x5a\x5c-\x7e]"
    r"|[\r\b]"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOVES: Final = frozenset("ABCDGK")
COLOURS: Final = 8


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks. A colour is 0 to 15, or "r,g,b"; None: the default."""

    colour: int | str | None = None
    background: int | str | None = None
    words: frozenset[str] = frozenset()

    def markup(self, text: str) -> str:
        """Return the text as HTML."""
        escaped = escape_text(text)
        colour, background, words = self.colour, self.background, self.words
        if "inverse" in words:
            colour, background, words = background, colour, words - {"inverse"}
            if colour is None and background is None:
                words |= {"inverse"}
        classes, rules = sorted(words), []
        for name, rule, value in (("f", "color", colour), ("b", "background", background)):
            if isinstance(value, int):
                classes.append(f"{name}{value}")
            elif value is not None:
                rules.append(f"{rule}:rgb({value})")
        attributes = f' class="{" ".join(classes)}"' if classes else ""
        attributes += f' style="{";".join(rules)}"' if rules else ""
        return f"<span{attributes}>{escaped}</span>" if attributes else escaped


_PLAIN: Final = Style()
_ON: Final = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_OFF: Final = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"underline"}, 27: {"inverse"}, 29: {"strike"}}


def escape_text(text: str) -> str:
    """Return text for an element or an attribute in quotes; control characters become visible."""
    return html.escape(_CONTROL.sub(_visible, without_surrogates(text)))


def terminal_html(text: str) -> str:
    """Return text for a `pre` element. Sequences that are neither colours nor movements are left out."""
    if _CONTROL.search(text) is None:
        return escape_text(text)
    screen = _Screen()
    place = 0
    for match in _SEQUENCE.finditer(text):
        screen.write(text[place : match.start()])
        place = match.end()
        if match[0] == "\r":
            screen.column = 0
        elif match[0] == "\b":
            screen.column = max(0, screen.column - 1)
        elif match["final"] is not None and not match["rest"]:
            if match["final"] == "m":
                screen.style = _styled(screen.style, match["numbers"])
            elif match["final"] in _MOVES:
                screen.move(match["final"], match["numbers"])
    screen.write(text[place:])
    return screen.markup()


class _Screen:
    """Lines of styled text. A line is a list of (style, text), the texts not empty."""

    def __init__(self) -> None:
        self._lines: list[list[tuple[Style, str]]] = [[]]
        self._row = 0
        self._lengths = [0]
        self._edits = 0
        self.column = 0
        self.style = _PLAIN

    def write(self, text: str) -> None:
        """Write text at the cursor."""
        lines = text.split("\n")
        for number, line in enumerate(lines):
            if number:
                self._row += 1
                self.column = 0
                if self._row == len(self._lines):
                    self._lines.append([])
                    self._lengths.append(0)
            if line:
                self._put(line)

    def _put(self, text: str) -> None:
        line, length, start = self._lines[self._row], self._lengths[self._row], self.column
        if start == length or not self._may_edit():
            line.append((self.style, text))
            start = length
        else:
            before = _piece(line, 0, start)
            if start > length:
                before.append((_PLAIN, " " * (start - length)))
            after = _piece(line, start + len(text), length)
            self._lines[self._row] = [*before, (self.style, text), *after]
        self.column = start + len(text)
        self._lengths[self._row] = max(length, self.column)

    def _may_edit(self) -> bool:
        self._edits += 1
        is_long = self._lengths[self._row] > MAX_EDITED_COLUMNS or len(self._lines[self._row]) > MAX_EDITED_PARTS
        return not is_long and self._edits <= MAX_EDITS

    def move(self, kind: str, numbers: str) -> None:
        """Move the cursor (CSI A, B, C, D, G), or erase a part of its line (CSI K)."""
        count = int(numbers[:6]) if numbers.isdigit() else 0
        length = self._lengths[self._row]
        if kind == "K" and not self._may_edit():
            return
        match kind:
            case "A":
                self._row = max(0, self._row - (count or 1))
            case "B":
                self._row = min(len(self._lines) - 1, self._row + (count or 1))
            case "C":
                self.column = min(self.column + (count or 1), max(length, self.column, MAX_COLUMNS))
            case "D":
                self.column = max(0, self.column - (count or 1))
            case "G":
                self.column = min((count or 1) - 1, max(length, MAX_COLUMNS))
            case "K" if count == 0:
                self._set_line(_piece(self._lines[self._row], 0, self.column))
            case "K" if count == 1:
                blank = [(_PLAIN, " " * self.column)] if self.column else []
                self._set_line([*blank, *_piece(self._lines[self._row], self.column, length)])
            case _:
                self._set_line([])

    def _set_line(self, line: list[tuple[Style, str]]) -> None:
        self._lines[self._row] = line
        self._lengths[self._row] = sum(len(text) for _, text in line)

    def markup(self) -> str:
        """Return everything as HTML."""
        return "\n".join("".join(style.markup(text) for style, text in _joined(line)) for line in self._lines)


def _piece(line: list[tuple[Style, str]], start: int, end: int) -> list[tuple[Style, str]]:
    """Return the part of a line between two columns."""
    found, column = [], 0
    for style, text in line:
        part = text[max(0, start - column) : max(0, end - column)]
        if part:
            found.append((style, part))
        column += len(text)
    return found


def _joined(line: list[tuple[Style, str]]) -> Iterator[tuple[Style, str]]:
    for style, parts in itertools.groupby(line, key=itemgetter(0)):
        yield style, "".join(text for _, text in parts)


def _styled(style: Style, numbers: str) -> Style:
    """Return the style after the sequence CSI `numbers` m."""
    codes = [int(number[:4]) if number else 0 for number in numbers.split(";")] if ":" not in numbers else []
    if not codes:  # with colons: one colour, "38:2::r:g:b" or "38:5:n"
        codes = [int(number[:4]) for number in re.split("[;:]", numbers) if number]
    rest = iter(codes)
    for code in rest:
        if code == 0:
            style = _PLAIN
        elif code in _ON:
            style = replace(style, words=style.words | {_ON[code]})
        elif code in _OFF:
            style = replace(style, words=style.words - _OFF[code])
        elif code in {38, 48}:
            colour = _long_colour(next(rest, 0), rest)
            style = replace(style, colour=colour) if code == 38 else replace(style, background=colour)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, colour=code - 30 if code < 90 else code - 90 + COLOURS)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = replace(style, background=code - 40 if code < 100 else code - 100 + COLOURS)
        elif code == 39:
            style = replace(style, colour=None)
        elif code == 49:
            style = replace(style, background=None)
    return style


def _long_colour(kind: int, rest: Iterator[int]) -> int | str | None:
    """Return the colour of 38;5;n or 38;2;r;g;b, whose first number has been read."""
    if kind == 2:
        return ",".join(str(min(255, next(rest, 0))) for _ in range(3))
    if kind != 5:
        return None
    number = min(255, next(rest, 0))
    if number < 2 * COLOURS:
        return number
    if number >= 232:
        return ",".join([str(8 + 10 * (number - 232))] * 3)
    cube = [0, 95, 135, 175, 215, 255]
    return ",".join(str(cube[(number - 16) // step % 6]) for step in (36, 6, 1))


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\x{code:02x}"
