"""Values as what readers get: a MIME bundle, and the value itself where it can travel as data.

Everything here may run user code (`__repr__` and its kin), and is called as part of a cell: it can be interrupted, and
what it raises is named in the text instead.
"""

import base64
import io
import sys
from json import dumps, loads
from typing import Any, Final, NamedTuple

from msgpack import packb

from skep_shared.json_form import has_surrogates
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
from skep_workers.session.tracebacks import shortened

ALL: Final = Wanted()
AS_REPR: Final = "the result's value does not travel as data, outcome.value is its repr"
MAX_REPR_CHARS: Final = 1024 * 1024
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024


class Shown(NamedTuple):
    """A MIME bundle, and what of it was cut to limits, each in a few words."""

    bundle: dict[str, Any]
    cut: tuple[str, ...] = ()


def mime_bundle(value: object, report: Report, wanted: Wanted = ALL) -> Shown:
    """Give the representations of a value, MIME type -> str (bytes as base64), text/plain always if it is wanted."""
    if type(value) in PLAIN_KINDS:
        return _bounded({"text/plain": _full_repr(value)}) if wanted.has("text/plain") else Shown({})
    bundle = representations(value, wanted, report)
    if "image/png" not in bundle and wanted.has("image/png"):
        bundle["image/png"] = call(lambda: figure_png(value), "savefig", value, report)
    if wanted.has("text/plain"):
        plain = bundle.get("text/plain")
        bundle["text/plain"] = plain if isinstance(plain, str) else _full_repr(value)
    return _bounded({mime: _as_text(shown) for mime, shown in bundle.items() if shown is not None})


def raw_bundle(data: dict[str, Any]) -> Shown:
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
        # NaN and infinities are null, as JavaScript's own JSON has them: no reader could parse `NaN`.
        plain = loads(dumps(shown), parse_constant=lambda _: None)
        packb(plain, unicode_errors="surrogatepass")  # as its frame will; numbers may still be too large for that
    except Exception:  # noqa: BLE001 - what is no JSON says so in many ways
        return safe_repr(shown)
    return plain


def _bounded(bundle: dict[str, Any]) -> Shown:
    """Leave out what makes a bundle too large to send, the largest first, and put a word on its size in its place."""
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
    """Give repr(value), shortened; a `__repr__` that raises, or gives no str, is named instead."""
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
    """Give a matplotlib figure as base64 PNG; None for anything else. Raises what drawing it raises."""
    module = sys.modules.get("matplotlib.figure")
    if module is None or not issubclass(type(value), module.Figure):
        return None
    buffer = io.BytesIO()
    value.savefig(buffer, format="png", bbox_inches="tight")  # type: ignore[attr-defined]
    return base64.b64encode(buffer.getvalue()).decode()


def value_as_data(value: object) -> tuple[bytes | None, str]:
    """Give the value encoded, or None if it, or something in it, isn't plain data or is over a limit.

    Second, what readers would not see: the limit that it is over, or that its text is escaped; mostly ''. A value of
    other types says what it is by its repr.
    """
    try:
        data = encode_value(plain_lines(value) if ShellLines.are_made else value)
    except ValueEncodingError as exc:
        return None, f"{AS_REPR}: {exc}" if exc.is_limit else ""
    except RecursionError:
        return None, f"{AS_REPR}: nested too deeply"
    if len(data) > MAX_DATA_BYTES:
        return None, f"{AS_REPR}: it has {len(data)} bytes, over the limit of {MAX_DATA_BYTES}"
    if b"\xed" in data and has_surrogates(decode_value(data)):  # in UTF-8 all of them begin with this byte
        return data, "lone surrogates in the result's value are escaped: no text in UTF-8 has them"
    return data, ""
