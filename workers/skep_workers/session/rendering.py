"""Values as what readers get: a MIME bundle, and the value itself where it can travel as data.

Everything here may run user code (`__repr__` and its kin), and is called as part of a cell: it can be interrupted, and
what it raises is named in the text instead.
"""

import base64
import contextlib
import io
import sys
from typing import Any, Final

from skep_shared.values import ValueEncodingError, encode_value
from skep_workers.session.tracebacks import shortened

MAX_REPR_CHARS: Final = 1024 * 1024
MAX_DATA_BYTES: Final = 4 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024

_REPR_METHODS: Final = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_pdf_": "application/pdf",
}


def mime_bundle(value: object) -> dict[str, Any]:
    """Give the representations of a value, MIME type -> str (bytes as base64), text/plain always."""
    bundle: dict[str, Any] = {}
    if not isinstance(value, type):  # a class has the methods too, but nothing to show
        bundle.update(_own_bundle(value))
        for method, mime in _REPR_METHODS.items():
            if mime not in bundle and (shown := _call(value, method)) is not None:
                bundle[mime] = shown
        if "image/png" not in bundle and (png := figure_png(value)) is not None:
            bundle["image/png"] = png
    plain = bundle.get("text/plain")
    bundle["text/plain"] = plain if isinstance(plain, str) else safe_repr(value)
    return _bounded({mime: _as_text(shown) for mime, shown in bundle.items() if shown is not None})


def raw_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Give a bundle that user code put together, made safe to send."""
    return _bounded({str(mime): _as_text(shown) for mime, shown in data.items()})


def _own_bundle(value: object) -> dict[str, Any]:
    own = _call(value, "_repr_mimebundle_")
    if isinstance(own, tuple):  # (data, metadata)
        own = own[0] if own else None
    return dict(own) if isinstance(own, dict) else {}


def _call(value: object, method: str) -> Any:
    function = getattr(type(value), method, None)
    if function is None:
        return None
    try:
        return function(value)
    except Exception:  # noqa: BLE001 - user code; another representation will do
        return None


def _as_text(shown: object) -> Any:
    if isinstance(shown, bytes | bytearray | memoryview):
        return base64.b64encode(shown).decode()
    if isinstance(shown, tuple) and shown:  # (data, metadata)
        return _as_text(shown[0])
    if isinstance(shown, str):
        return shown
    try:
        encode_value(shown)
    except (ValueEncodingError, RecursionError):
        return safe_repr(shown)
    return shown


def _bounded(bundle: dict[str, Any]) -> dict[str, Any]:
    """Replace what is too large to send by a word on its size."""
    bounded = {}
    for mime, shown in bundle.items():
        size = len(shown) if isinstance(shown, str) else len(encode_value(shown))
        if size <= MAX_BUNDLE_BYTES:
            bounded[mime] = shown
        else:
            bounded.setdefault("text/plain", f"<{mime} of {size} bytes, over the limit of {MAX_BUNDLE_BYTES}>")
    return bounded


def safe_repr(value: object, limit: int = MAX_REPR_CHARS) -> str:
    """Give repr(value), shortened; a `__repr__` that raises, or gives no str, is named instead."""
    try:
        text = repr(value)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:
        if type(exc).__name__ == "CancelledError":
            raise
        return f"<{type(value).__qualname__} object whose __repr__ raised {type(exc).__name__}>"
    return shortened(text, limit)


def figure_png(value: object) -> str | None:
    """Give a matplotlib figure as base64 PNG; None for anything else."""
    module = sys.modules.get("matplotlib.figure")
    if module is None or not isinstance(value, module.Figure):
        return None
    buffer = io.BytesIO()
    with contextlib.suppress(Exception):  # an empty or broken figure has no picture
        value.savefig(buffer, format="png", bbox_inches="tight")
    return base64.b64encode(buffer.getvalue()).decode() if buffer.getvalue() else None


def value_as_data(value: object) -> bytes | None:
    """Give the value encoded, or None if it, or something in it, isn't plain data or is too large."""
    try:
        data = encode_value(value)
    except (ValueEncodingError, RecursionError):
        return None
    return data if len(data) <= MAX_DATA_BYTES else None
