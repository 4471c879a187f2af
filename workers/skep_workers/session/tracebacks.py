"""Exceptions of user code as text: source lines and carets, without the engine's own frames."""

import asyncio
import selectors
from pathlib import Path
from traceback import StackSummary, TracebackException  # bound early: user code may patch traceback
from types import TracebackType
from typing import Final, NamedTuple

_ENGINE_DIRECTORY: Final = str(Path(__file__).parent) + "/"
_LOOPS_CODE: Final = (_ENGINE_DIRECTORY, str(Path(asyncio.__file__).parent) + "/", str(Path(selectors.__file__)))
MAX_TEXT_CHARS: Final = 256 * 1024
MAX_VALUE_CHARS: Final = 8 * 1024


class Described(NamedTuple):
    """An exception's name, its text and its traceback; what of them is shortened, and to which limit, or ''."""

    name: str
    text: str
    traceback: str
    cut: str


def describe_exception(exc: BaseException) -> Described:
    """Give the exception as text; user code in `__str__` can't break it.

    Raises KeyboardInterrupt, which ends that code too.
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
        summary = TracebackException(kind, exc, _behind_engine(exc.__traceback__))
        _drop_engine_frames(summary, set())
        if not text:
            summary._str = ""  # type: ignore[attr-defined]  # noqa: SLF001 - it is made from the exception again
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
    """Return whether an exception that came out of the event loop was raised in user code, a signal's handler say."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not trace.tb_frame.f_code.co_filename.startswith(_LOOPS_CODE)


def _text_of(exc: BaseException) -> str:
    # `exit()` raises SystemExit(None), whose text would be that None.
    return "" if type(exc) is SystemExit and exc.code is None else str(exc)


def _behind_engine(trace: TracebackType | None) -> TracebackType | None:
    """Give the traceback from the first frame of user code on: those before it would only make their files be read."""
    if trace is not None and trace.tb_frame.f_code.co_filename.startswith(_LOOPS_CODE):
        return _behind(trace.tb_next, _LOOPS_CODE) or _behind(trace, (_ENGINE_DIRECTORY,))
    return trace


def _behind(trace: TracebackType | None, places: tuple[str, ...]) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(places):
        trace = trace.tb_next
    return trace


def shortened(text: str, limit: int) -> str:
    """Give the text, with its middle replaced by a note if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _drop_engine_frames(summary: TracebackException, seen: set[int]) -> None:
    if id(summary) in seen:
        return
    seen.add(id(summary))
    kept = [frame for frame in summary.stack if not frame.filename.startswith(_ENGINE_DIRECTORY)]
    summary.stack = StackSummary.from_list(kept)
    for linked in (summary.__cause__, summary.__context__, *(getattr(summary, "exceptions", None) or ())):
        if linked is not None:
            _drop_engine_frames(linked, seen)
