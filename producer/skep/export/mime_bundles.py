"""MIME bundles as the format of notebooks permits them: text for every type, any JSON for JSON types."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from skep_shared.json_form import json_form, without_surrogates

_JSON_TYPE: Final = re.compile(r"application/(?:.*\+)?json")


def notebook_bundle(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle for an output of a notebook.

    Bytes become base64. A representation that is no text, of a type that must be text, becomes its JSON.
    """
    return {
        without_surrogates(str(kind)): _representation(str(kind), shown) for kind, shown in bundle.items()
    }  # fmt: skip


def bundle_bytes(bundle: Mapping[str, Any]) -> int:
    """Return the size of a bundle from `notebook_bundle`, in bytes of UTF-8."""
    return sum(text_bytes(kind) + _size(shown) for kind, shown in bundle.items())


def text_bytes(text: str) -> int:
    """Return the size of a text in UTF-8; a lone surrogate counts as one byte."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _representation(kind: str, shown: object) -> Any:
    if _JSON_TYPE.fullmatch(kind):
        return json_form(shown)
    if isinstance(shown, str):
        return without_surrogates(shown)
    if isinstance(shown, bytes):
        return base64.b64encode(shown).decode()
    if isinstance(shown, list) and all(isinstance(line, str) for line in shown):
        return without_surrogates("".join(shown))
    return json.dumps(json_form(shown), ensure_ascii=False)


def _size(shown: object) -> int:
    return text_bytes(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False))
