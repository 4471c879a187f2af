"""A hint for errors of objects that belong to one thread, when a background task has continued in another thread.

Only sqlite3 can be recognised, because its error names both threads. Thread-locals and other libraries don't.
"""

from typing import Final

from skep_workers.session.errors.notes import add_note

MOST_THREADS: Final = 1000
HINT: Final = (
    "this is a background task, which runs on another thread while a cell blocks; "
    'with SessionOptions(background_tasks="pause") tasks remain on the main thread and pause meanwhile'
)

_idents: Final[dict[int, None]] = {}


def record_background_thread(ident: int) -> None:
    """Record a thread in which background tasks have run."""
    _idents[ident] = None
    if len(_idents) > MOST_THREADS:
        del _idents[next(iter(_idents))]


def add_thread_hint(exc: BaseException | None) -> None:
    """Add the hint to an error of sqlite3 about one of those threads."""
    if not _idents or exc is None or type(exc).__module__ != "sqlite3" or type(exc).__name__ != "ProgrammingError":
        return
    words = str(exc).replace(".", " ").split()
    is_about_them = "thread" in words and any(str(ident) in words for ident in _idents)
    if is_about_them:
        add_note(exc, HINT)
