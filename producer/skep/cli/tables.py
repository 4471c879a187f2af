"""Tables that fit the terminal; in a pipe nothing is cut, so that every word can be searched for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from skep.cli.screen import Screen, plain_text

GAP: Final = 2
NARROWEST: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; `gives_way` is whether its texts may be cut to fit."""

    heading: str
    gives_way: bool = False


def print_table(screen: Screen, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print rows under headings."""
    headings = [column.heading for column in columns]
    texts = [headings, *([plain_text(str(cell)) for cell in row] for row in rows)]
    widths = [max(cell_len(row[place]) for row in texts) for place in range(len(columns))]
    if not screen.out.is_terminal:
        for line in texts:
            print((" " * GAP).join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold dim")
    fitted = fit(widths, [column.gives_way for column in columns], screen.out.width)
    for heading, width in zip(headings, fitted, strict=True):
        table.add_column(heading, width=width, no_wrap=True, overflow="ellipsis")
    for row, plain in zip(rows, texts[1:], strict=True):
        table.add_row(*(cell if isinstance(cell, Text) else Text(text) for cell, text in zip(row, plain, strict=True)))
    screen.print(table)


def fit(widths: Sequence[int], may_shrink: Sequence[bool], available: int) -> list[int]:
    """Give widths that fit, taking from the widest columns that may shrink, and none below NARROWEST."""
    fitted = list(widths)
    while sum(fitted) + GAP * (len(fitted) - 1) > available:
        able = [place for place, may in enumerate(may_shrink) if may and fitted[place] > NARROWEST]
        if not able:
            break
        fitted[max(able, key=fitted.__getitem__)] -= 1
    return fitted


def when(moment: datetime, screen: Screen) -> str:
    """Give a time as people read it on a terminal, else in ISO 8601."""
    if not screen.out.is_terminal:
        return moment.isoformat(timespec="milliseconds")
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def one_line(text: str) -> str:
    """Give text as one short line."""
    return " ".join(text[:1000].split())[:200]
