"""Values as what readers get: a MIME bundle, and the value itself where it can travel as data.

Everything here may run user code (`__repr__` and its kin), and is called as part of a cell: it can be interrupted, and
what it raises is named in the text instead.
"""

import base64
import io
import sys
from json import dumps, loads
from typing import Any, Final

from msgpack import packb

from skep_shared.values import ValueEncodingError, encode_value
from skep_workers.session.display.representations import (
    ENDS_THE_CELL,
    PLAIN_KINDS,
    Report,
    Wanted,
    call,
    representations,
)
from skep_workers.session.display.shell_lines import ShellLines, plain_lines
from skep_workers.session.tracebacks import shortened

ALL: Final = Wanted()
MAX_REPR_CHARS: Final = 1024 * 1024
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024


def mime_bundle(value: object, report: Report, wanted: Wanted = ALL) -> dict[str, Any]:
    """Give the representations of a value, MIME type -> str (bytes as base64), text/plain always if it is wanted."""
    if type(value) in PLAIN_KINDS:
        return _bounded({"text/plain": safe_repr(value)}) if wanted.has("text/plain") else {}
    bundle = representations(value, wanted, report)
    if "image/png" not in bundle and wanted.has("image/png"):
        bundle["image/png"] = call(lambda: figure_png(value), "savefig", value, report)
    if wanted.has("text/plain"):
        plain = bundle.get("text/plain")
        bundle["text/plain"] = plain if isinstance(plain, str) else safe_repr(value)
    return _bounded({mime: _as_text(shown) for mime, shown in bundle.items() if shown is not None})


def raw_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Give a bundle that user code put together, made safe to send."""
    return _bounded({str(mime): _as_text(shown) for mime, shown in data.items()})


def _as_text(shown: object) -> Any:
    if isinstance(shown, bytes | bytearray | memoryview):
        return base64.b64encode(shown).decode()
    if isinstance(shown, tuple) and shown:  # (data, metadata)
        return _as_text(shown[0])
    if isinstance(shown, str):
        return shown
    try:
        plain = loads(dumps(shown))
        packb(plain, unicode_errors="surrogatepass")  # as its frame will; numbers may still be too large for that
    except Exception:  # noqa: BLE001 - what is no JSON says so in many ways
        return safe_repr(shown)
    return plain


def _bounded(bundle: dict[str, Any]) -> dict[str, Any]:
    """Leave out what makes a bundle too large to send, the largest first, and put a word on its size in its place."""
    sizes = {mime: len(mime) + _size(shown) for mime, shown in bundle.items()}
    total, kept, notes = sum(sizes.values()), dict(bundle), []
    for mime in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_BUNDLE_BYTES:
            break
        total -= sizes[mime]
        notes.append(f"<{mime} of {_size(kept.pop(mime))} bytes left out, over the limit of {MAX_BUNDLE_BYTES}>")
    if notes:
        own = kept.get("text/plain")
        kept["text/plain"] = shortened("\n".join([*([own] if isinstance(own, str) else []), *notes]), MAX_REPR_CHARS)
    return kept


def _size(shown: Any) -> int:
    if isinstance(shown, str):
        return len(shown.encode("utf-8", "surrogatepass"))
    return len(packb(shown, unicode_errors="surrogatepass"))


def safe_repr(value: object, limit: int = MAX_REPR_CHARS) -> str:
    """Give repr(value), shortened; a `__repr__` that raises, or gives no str, is named instead."""
    try:
        text = repr(value)
    except ENDS_THE_CELL:
        raise
    except BaseException as exc:  # noqa: BLE001 - user code, even SystemExit
        return f"<{type(value).__qualname__} object whose __repr__ raised {type(exc).__name__}>"
    return shortened(text, limit)


def figure_png(value: object) -> str | None:
    """Give a matplotlib figure as base64 PNG; None for anything else. Raises what drawing it raises."""
    module = sys.modules.get("matplotlib.figure")
    if module is None or not issubclass(type(value), module.Figure):
        return None
    buffer = io.BytesIO()
    value.savefig(buffer, format="png", bbox_inches="tight")  # type: ignore[attr-defined]
    return base64.b64encode(buffer.getvalue()).decode()


def value_as_data(value: object) -> bytes | None:
    """Give the value encoded, or None if it, or something in it, isn't plain data or is too large."""
    try:
        data = encode_value(plain_lines(value) if ShellLines.are_made else value)
    except (ValueEncodingError, RecursionError):
        return None
    return data if len(data) <= MAX_DATA_BYTES else None
