"""Notes of the engine on exceptions of cells."""

from contextlib import suppress


def add_note(exc: BaseException, note: str) -> None:
    """Add a note, unless the exception has it. User code decides what `__notes__` is: if it is no list, add nothing."""
    with suppress(Exception):
        if note not in getattr(exc, "__notes__", ()):
            BaseException.add_note(exc, note)  # its own method may be user code
