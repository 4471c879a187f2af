"""Whose output something is."""

from contextvars import ContextVar
from typing import Final, NamedTuple


class Writer(NamedTuple):
    """A cell's attempt; seq 0 is nobody's."""

    seq: int
    attempt: int


NOBODY: Final = Writer(0, 0)

# Copied into tasks when they are created, so that what a task prints is its cell's, whenever it prints.
current_writer: ContextVar[Writer] = ContextVar("skep_writer", default=NOBODY)
