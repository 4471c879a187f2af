"""Lists of records: as a table for people, or as one JSON object a line for programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.text import Text

from skep.cli.output.event_printers import print_json
from skep.cli.output.screen import Screen
from skep.cli.output.tables import Column, print_table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How records of one type are shown. none_found: what people read if there are none."""

    columns: Sequence[Column]
    row: Callable[[T, Screen], Sequence[str | Text]]
    record: Callable[[T], dict[str, Any]]
    none_found: str

    def show(self, found: Sequence[T], *, as_json: bool) -> int:
        """Print the records, and return the exit status."""
        if as_json:
            for each in found:
                print_json(self.record(each))
            return 0
        screen = Screen()
        if found:
            print_table(screen, self.columns, [self.row(each, screen) for each in found])
        else:
            screen.note(self.none_found)
        return 0
