"""Exceptions of user code as text: source lines and carets, without the engine's own frames."""

from traceback import StackSummary, TracebackException  # bound early: user code may patch traceback
from types import TracebackType
from typing import Final, NamedTuple

from skep_workers.session.errors.code_places import ENGINE_DIRECTORY, LOOP_CODE
from skep_workers.session.errors.sources import translated_lines

MAX_TEXT_CHARS: Final = 256 * 1024
MAX_VALUE_CHARS: Final = 8 * 1024


class Described(NamedTuple):
    """An exception's name, text and traceback. cut: which of them are shortened, and to which limit, or ''."""

    name: str
    text: str
    traceback: str
    cut: str


def describe_exception(exc: BaseException) -> Described:
    """Return the exception as text; errors of user code in `__str__` are caught.

    Raises KeyboardInterrupt, because an interrupt must end that code as well.
    """
    kind = type(exc)
    name = kind.__qualname__
    try:
        text = _text_of(exc)
    except KeyboardInterrupt:
        raise
    except BaseException as inner:  # noqa: BLE001 - user code runs in __str__, and may even raise SystemExit
        text = f"<str() of it raised {type(inner).__name__}>"
    try:
        summary = TracebackException(kind, exc, after_engine(exc.__traceback__))
        _drop_engine_frames(summary, set())
        if not text:
            summary._str = ""  # type: ignore[attr-defined]  # noqa: SLF001 - it called str() on the exception again
        shown = "".join(summary.format())
    except KeyboardInterrupt:
        raise
    except BaseException as inner:  # noqa: BLE001 - user code runs in __str__, __repr__ and __notes__
        shown = f"{name}: {text}\n(the traceback can't be shown: {type(inner).__name__})\n"
    sizes = {"text": (len(text), MAX_VALUE_CHARS), "traceback": (len(shown), MAX_TEXT_CHARS)}
    cut = [
        f"its {part} of {size} characters is shortened to {most}" for part, (size, most) in sizes.items() if size > most
    ]
    return Described(name, shortened(text, MAX_VALUE_CHARS), shortened(shown, MAX_TEXT_CHARS), ", ".join(cut))


def is_raised_by_user(exc: BaseException) -> bool:
    """Return whether an exception that left the event loop was raised in user code, such as a signal handler."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not trace.tb_frame.f_code.co_filename.startswith(LOOP_CODE)


def _text_of(exc: BaseException) -> str:
    # `exit()` raises SystemExit(None), whose text would be "None".
    return "" if type(exc) is SystemExit and exc.code is None else str(exc)


def after_engine(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame of user code on; the frames before it would only cost file reads."""
    if trace is not None and trace.tb_frame.f_code.co_filename.startswith(LOOP_CODE):
        return _after(trace.tb_next, LOOP_CODE) or _after(trace, (ENGINE_DIRECTORY,))
    return trace


def _after(trace: TracebackType | None, places: tuple[str, ...]) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(places):
        trace = trace.tb_next
    return trace


def shortened(text: str, limit: int) -> str:
    """Return the text, with its middle replaced by a note if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _drop_engine_frames(summary: TracebackException, seen: set[int]) -> None:
    if id(summary) in seen:
        return
    seen.add(id(summary))
    kept = [frame for frame in summary.stack if not frame.filename.startswith(ENGINE_DIRECTORY)]
    for frame in kept:
        if frame.colno is not None and frame.lineno in translated_lines(frame.filename):
            frame.colno = frame.end_colno = None  # carets would point at the wrong places of the shown line
    summary.stack = StackSummary.from_list(kept)
    for linked in (summary.__cause__, summary.__context__, *(getattr(summary, "exceptions", None) or ())):
        if linked is not None:
            _drop_engine_frames(linked, seen)
