"""Converts values for readers: to a MIME bundle, and to the encoded value if it can travel as data.

Every function here may run user code, such as `__repr__`, and is called as part of a cell: it can be interrupted, and
an exception of that code is named in the text instead.
"""

import base64
import io
import sys
from json import dumps, loads
from typing import Any, Final, NamedTuple

from msgpack import packb

from skep_shared.json_form import MAX_LEVELS, has_surrogates, is_nested_deeper
from skep_shared.values import ValueEncodingError, decode_value, encode_value
from skep_workers.session.display.representations import (
    ENDS_THE_CELL,
    PLAIN_KINDS,
    Report,
    Wanted,
    call,
    representations,
)
from skep_workers.session.display.shell_lines import ShellLines, plain_lines
from skep_workers.session.errors.tracebacks import shortened

ALL: Final = Wanted()
AS_REPR: Final = "the result can't travel as data, so outcome.value is its repr"
_FIGURE_PARTS: Final = ("axes", "lines", "texts", "images", "patches", "legends", "artists")
MAX_REPR_CHARS: Final = 1024 * 1024
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024


class Shown(NamedTuple):
    """A MIME bundle, and a short description of each part that was cut to a limit."""

    bundle: dict[str, Any]
    cut: tuple[str, ...] = ()


def mime_bundle(value: object, report: Report, wanted: Wanted = ALL) -> Shown:
    """Return the representations of a value, MIME type -> str (bytes as base64), always with text/plain if wanted."""
    if type(kind := type(value)) is type and kind in PLAIN_KINDS:
        return _bounded({"text/plain": _full_repr(value)}) if wanted.has("text/plain") else Shown({})
    bundle = representations(value, wanted, report)
    if "image/png" not in bundle and wanted.has("image/png"):
        bundle["image/png"] = call(lambda: figure_png(value), "savefig", value, report)
    if wanted.has("text/plain"):
        plain = bundle.get("text/plain")
        bundle["text/plain"] = plain if isinstance(plain, str) else _full_repr(value)
    return _bounded({mime: _as_text(shown) for mime, shown in bundle.items() if shown is not None})


def raw_bundle(data: dict[str, Any]) -> Shown:
    """Return a bundle that user code has made, made safe to send."""
    return _bounded({str(mime): _as_text(shown) for mime, shown in data.items()})


def _as_text(shown: object) -> Any:
    if isinstance(shown, bytes | bytearray | memoryview):
        return base64.b64encode(shown).decode()
    if isinstance(shown, tuple) and shown:  # (data, metadata)
        return _as_text(shown[0])
    if isinstance(shown, str):
        return shown
    try:
        # NaN and infinities become null, as in JavaScript's JSON: no reader could parse `NaN`.
        plain = loads(dumps(shown), parse_constant=lambda _: None)
        packb(plain, unicode_errors="surrogatepass")  # as for its frame, because numbers may be too large for msgpack
        if is_nested_deeper(plain, MAX_LEVELS - 1):  # the bundle is a level, too
            return safe_repr(shown)
    except Exception:  # noqa: BLE001 - values that aren't JSON raise many kinds of errors
        return safe_repr(shown)
    return plain


def _bounded(bundle: dict[str, Any]) -> Shown:
    """Remove the largest parts of a bundle that is too large to send, and mention their sizes in its text."""
    kept, cut = dict(bundle), []
    plain = kept.get("text/plain")
    if isinstance(plain, str) and len(plain) > MAX_REPR_CHARS:
        cut.append(f"its text of {len(plain)} characters is shortened to the limit of {MAX_REPR_CHARS}")
        kept["text/plain"] = shortened(plain, MAX_REPR_CHARS)
    sizes = {mime: len(mime) + _size(shown) for mime, shown in kept.items()}
    total, notes = sum(sizes.values()), []
    for mime in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_BUNDLE_BYTES:
            break
        total -= sizes[mime]
        notes.append(f"{mime} of {_size(kept.pop(mime))} bytes left out, over the limit of {MAX_BUNDLE_BYTES}")
    if notes:
        own = kept.get("text/plain")
        marks = [f"<{note}>" for note in notes]
        kept["text/plain"] = shortened("\n".join([*([own] if isinstance(own, str) else []), *marks]), MAX_REPR_CHARS)
    return Shown(kept, (*cut, *notes))


def _size(shown: Any) -> int:
    if isinstance(shown, str):
        return len(shown.encode("utf-8", "surrogatepass"))
    return len(packb(shown, unicode_errors="surrogatepass"))


def safe_repr(value: object, limit: int = MAX_REPR_CHARS) -> str:
    """Return repr(value), shortened; if `__repr__` raises or returns no str, return a text that says so."""
    return shortened(_full_repr(value), limit)


def _full_repr(value: object) -> str:
    try:
        text = repr(value)
    except ENDS_THE_CELL:
        raise
    except BaseException as exc:  # noqa: BLE001 - user code, even SystemExit
        return f"<{type(value).__qualname__} object whose __repr__ raised {type(exc).__name__}>"
    return text


def figure_png(value: object) -> str | None:
    """Return a matplotlib figure as base64 PNG, or None for an empty figure or any other value.

    Raises whatever drawing the figure raises.
    """
    module = sys.modules.get("matplotlib.figure")
    if module is None or not issubclass(type(value), module.Figure) or _is_blank(value):
        return None
    buffer = io.BytesIO()
    value.savefig(buffer, format="png", bbox_inches="tight")  # type: ignore[attr-defined]
    return base64.b64encode(buffer.getvalue()).decode()


def _is_blank(figure: Any) -> bool:
    """Return whether a figure is empty: without axes, texts, images and so on. Its background patch doesn't count."""
    parts = [getattr(figure, name, None) for name in _FIGURE_PARTS]
    if parts[0] is None or any(parts):
        return False
    return all(_is_blank(inner) for inner in getattr(figure, "subfigs", None) or ())


def value_as_data(value: object) -> tuple[bytes | None, str]:
    """Return the encoded value and a remark. The value is None if any part of it isn't plain data or exceeds a limit.

    The remark is usually ''. Otherwise it mentions what readers would not notice: the limit that the value exceeds, or
    that its text is escaped. Values of other types need no remark, because their repr shows what they are.
    """
    try:
        data = encode_value(plain_lines(value) if ShellLines.are_made else value)
    except ValueEncodingError as exc:
        return None, f"{AS_REPR}: {exc}" if exc.is_limit else ""
    except RecursionError:
        return None, f"{AS_REPR}: nested too deeply"
    if len(data) > MAX_DATA_BYTES:
        return None, f"{AS_REPR}: it has {len(data)} bytes, over the limit of {MAX_DATA_BYTES}"
    if b"\xed" in data and has_surrogates(decode_value(data)):  # every surrogate begins with this byte in UTF-8
        return data, "lone surrogates in the result are escaped, because UTF-8 can't represent them"
    return data, ""
