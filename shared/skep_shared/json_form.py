"""Values as JSON has them, for events that go on as JSON; it never fails, and what JSON can't say is told apart."""

import base64
import math
from typing import Any, Final

_AS_THEY_ARE: Final = frozenset({type(None), bool, int})


def json_form(value: Any) -> Any:
    """Return what stands for a value of plain types in JSON.

    Tuples are lists, bytes base64, NaN and infinities None; lone surrogates are escaped. A key that is no str is its
    repr, as is one that would then be there twice.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is str:
        return without_surrogates(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind is list or kind is tuple:
        return [json_form(item) for item in value]
    if kind is dict:
        form: dict[str, Any] = {}
        for key, item in value.items():
            name = without_surrogates(key) if type(key) is str else repr(key)
            while name in form:
                name = repr(name)
            form[name] = json_form(item)
        return form
    return without_surrogates(repr(value))


def without_surrogates(text: str) -> str:
    """Return the text with each lone surrogate as its escape, as UTF-8 has none for it."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def has_surrogates(value: Any) -> bool:
    """Return whether a value of plain types has a lone surrogate in its text."""
    kind = type(value)
    if kind is str:
        return not value.isascii() and without_surrogates(value) != value
    if kind is list or kind is tuple:
        return any(map(has_surrogates, value))
    return kind is dict and any(has_surrogates(part) for pair in value.items() for part in pair)


def whole_text(value: Any) -> Any:
    """Return a value of plain types with the lone surrogates in its text escaped."""
    kind = type(value)
    if kind is str:
        return without_surrogates(value)
    if kind is list:
        return [whole_text(item) for item in value]
    if kind is tuple:
        return tuple(whole_text(item) for item in value)
    if kind is dict:
        return {whole_text(key): whole_text(item) for key, item in value.items()}
    return value
