"""The cell that output belongs to."""

from contextvars import ContextVar
from typing import Final, NamedTuple


class Writer(NamedTuple):
    """An attempt of a cell; seq 0 means no cell."""

    seq: int
    attempt: int


NO_CELL: Final = Writer(0, 0)

# A task copies this when it is created, so output of a task belongs to its cell, even after the cell's end.
current_writer: ContextVar[Writer] = ContextVar("skep_writer", default=NO_CELL)
