"""Values as what readers get: a MIME bundle, and the value itself where it can travel as data."""

from typing import Any, Final

from skep_shared.values import ValueEncodingError, encode_value
from skep_workers.session.tracebacks import shortened

MAX_REPR_CHARS: Final = 1024 * 1024
MAX_DATA_BYTES: Final = 4 * 1024 * 1024


def mime_bundle(value: object) -> dict[str, Any]:
    """Give the representations of a value; text/plain always, whatever its `__repr__` does."""
    return {"text/plain": safe_repr(value)}


def safe_repr(value: object) -> str:
    """Give repr(value), shortened; a `__repr__` that raises is named instead."""
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001 - user code runs in __repr__
        return f"<{type(value).__qualname__} object whose __repr__ raised {type(exc).__name__}>"
    return shortened(text, MAX_REPR_CHARS)


def value_as_data(value: object) -> bytes | None:
    """Give the value encoded, or None if it, or something in it, isn't plain data or is too large."""
    try:
        data = encode_value(value)
    except (ValueEncodingError, RecursionError):
        return None
    return data if len(data) <= MAX_DATA_BYTES else None
