"""Tables that fit the terminal; in a pipe nothing is cut, so that every word can be searched for.

A terminal that is too narrow for the columns gets a line for each field instead: cut headings would be no help.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from skep.cli.output.screen import Screen, plain_text

GAP: Final = 2
NARROWEST: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; may_shrink: whether its texts may be cut to fit the terminal."""

    heading: str
    may_shrink: bool = False


def print_table(screen: Screen, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows under headings."""
    headings = [column.heading for column in columns]
    texts = [headings, *([plain_text(str(cell)) for cell in row] for row in rows)]
    widths = [max(cell_len(row[place]) for row in texts) for place in range(len(columns))]
    if not screen.out.is_terminal:
        for line in texts:
            print((" " * GAP).join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    fitted = fit(widths, [column.may_shrink for column in columns], screen.out.width)
    if _total(fitted) > screen.out.width:
        _print_fields(screen, headings, rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold dim")
    for heading, width in zip(headings, fitted, strict=True):
        table.add_column(heading, width=width, no_wrap=True, overflow="ellipsis")
    for row, plain in zip(rows, texts[1:], strict=True):
        table.add_row(*(cell if isinstance(cell, Text) else Text(text) for cell, text in zip(row, plain, strict=True)))
    screen.print(table)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _print_fields(screen: Screen, headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print each row as lines of a heading and a text; rows are separated by an empty line."""
    width = max(map(len, headings)) + GAP
    for number, row in enumerate(rows):
        if number:
            screen.print("")
        for heading, cell in zip(headings, row, strict=True):
            if str(cell):
                text = cell if isinstance(cell, Text) else Text(plain_text(cell))
                screen.print(Text.assemble((heading.ljust(width), "bold dim"), text))


def fit(widths: Sequence[int], may_shrink: Sequence[bool], available: int) -> list[int]:
    """Return widths that fit, taking from the widest columns that may shrink, and none below NARROWEST."""
    fitted = list(widths)
    while _total(fitted) > available:
        able = [place for place, may in enumerate(may_shrink) if may and fitted[place] > NARROWEST]
        if not able:
            break
        fitted[max(able, key=fitted.__getitem__)] -= 1
    return fitted


def time_text(moment: datetime, screen: Screen) -> str:
    """Return a time, in a readable form on a terminal, otherwise in ISO 8601."""
    if not screen.out.is_terminal:
        return moment.isoformat(timespec="milliseconds")
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def one_line(text: str) -> str:
    """Return text as one short line."""
    return " ".join(text[:1000].split())[:200]
