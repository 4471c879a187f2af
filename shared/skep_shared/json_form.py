"""Converts values to their JSON form, for events that are passed on as JSON. The conversion never fails."""

import base64
import math
from typing import Any, Final

MAX_LEVELS: Final = 100  # of lists and maps within a MIME bundle: readers that recurse could not read many more
_CONTAINERS: Final = frozenset({list, tuple, dict})
_AS_THEY_ARE: Final = frozenset({type(None), bool, int})


def json_form(value: Any) -> Any:
    """Return the JSON form of a value of plain types.

    Tuples become lists, bytes base64, NaN and infinities None; lone surrogates are escaped. A key that isn't a str
    becomes its repr, and if that key already exists, the repr of that.
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
    """Return the text with each lone surrogate escaped, because UTF-8 can't represent it."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def has_surrogates(value: Any) -> bool:
    """Return whether a value of plain types contains text with a lone surrogate."""
    kind = type(value)
    if kind is str:
        return not value.isascii() and without_surrogates(value) != value
    if kind is list or kind is tuple:
        return any(map(has_surrogates, value))
    return kind is dict and any(has_surrogates(part) for pair in value.items() for part in pair)


def whole_text(value: Any) -> Any:
    """Return a value of plain types with all lone surrogates in its text escaped."""
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


def is_nested_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and maps within a value of plain types are nested deeper than this, itself included."""
    parts = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        if not parts:
            return False
        parts = [
            item
            for part in parts
            for item in (part.values() if type(part) is dict else part)
            if type(item) in _CONTAINERS
        ]
    return bool(parts)
