"""One output of a notebook as HTML that can do nothing to the page around it.

HTML of a session gets a frame of its own: without scripts, without the page's origin, and under the page's policy,
which permits no request. Images, SVG included, are sources of `img` elements, in which nothing runs. Everything else is
escaped text.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from skep.export.terminal_text import escape_text, terminal_html
from skep_shared.json_form import without_surrogates

IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")
SVG: Final = "image/svg+xml"
HTML: Final = "text/html"
MAX_ALT_CHARS: Final = 200
LEAST_HEIGHT: Final = 60
MOST_HEIGHT: Final = 600
ROW_HEIGHT: Final = 26
_SCRIPT: Final = re.compile(r"<script\b", re.IGNORECASE)
_ROW: Final = re.compile(r"<(?:tr|li|p|br|h[1-6]|dt|dd|pre|svg|img|canvas)\b|\n", re.IGNORECASE)
_TALL: Final = re.compile(r"<(?:svg|img|canvas)\b", re.IGNORECASE)
_FRAME_STYLE: Final = (
    "<style>body{margin:4px;font:14px system-ui,sans-serif;color:#111;background:#fff}"
    "table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #ddd}</style>"
)


def output_html(output: Mapping[str, Any], title: str) -> str:
    """Return one output of a cell; `title` names the cell for readers of a screen."""
    kind = output["output_type"]
    if kind == "stream":
        return f'<pre class="{escape_text(output["name"])}">{terminal_html(output["text"])}</pre>'
    if kind == "error":
        name = f"{output['ename']}: {output['evalue']}" if output["evalue"] else output["ename"]
        trace = "\n".join(output["traceback"]).strip("\n")
        return f'<pre class="error">{terminal_html(trace or name)}</pre>'
    return _bundle_html(output["data"], title)


def _bundle_html(bundle: Mapping[str, Any], title: str) -> str:
    """Return the richest representation that needs no script."""
    page = bundle.get(HTML)
    has_scripts = page is not None and _SCRIPT.search(page) is not None
    if page is not None and not has_scripts:
        return _frame(page, title)
    if SVG in bundle:
        data = base64.b64encode(without_surrogates(bundle[SVG]).encode()).decode()
        return _image(SVG, data, bundle)
    for kind in IMAGES:
        data = _checked_base64(bundle.get(kind))
        if data:
            return _image(kind, data, bundle)
    if page is not None:
        return _frame(page, title) + '<p class="note">Scripts of this output don\'t run here.</p>'
    for kind in ("text/markdown", "text/latex"):
        if kind in bundle:
            return _text(bundle[kind])
    if "application/json" in bundle and "text/plain" not in bundle:
        return _text(json.dumps(bundle["application/json"], indent=1, ensure_ascii=False))
    if "text/plain" in bundle:
        return _text(bundle["text/plain"])
    kinds = ", ".join(sorted(bundle)) or "nothing"
    return f'<p class="note">An output that can\'t be shown here: {escape_text(kinds)}</p>'


def _text(text: str) -> str:
    return f'<pre class="result">{terminal_html(text)}</pre>'


def _frame(page: str, title: str) -> str:
    content = html.escape(f"<!DOCTYPE html>{_FRAME_STYLE}{without_surrogates(page)}")
    return (
        f'<iframe sandbox="" referrerpolicy="no-referrer" title="{escape_text(title)}" '
        f'style="height:{_height(page)}px" srcdoc="{content}"></iframe>'
    )


def _height(page: str) -> int:
    """Return a height in pixels for a frame, which can't measure its content without a script."""
    if _TALL.search(page):
        return MOST_HEIGHT // 2
    rows = sum(1 for _ in _ROW.finditer(page))
    return max(LEAST_HEIGHT, min(MOST_HEIGHT, ROW_HEIGHT * (1 + rows)))


def _image(kind: str, data: str, bundle: Mapping[str, Any]) -> str:
    text = str(bundle.get("text/plain", "image"))[:MAX_ALT_CHARS]
    return f'<img alt="{escape_text(text)}" src="data:{kind};base64,{data}">'


def _checked_base64(data: object) -> str:
    """Return base64 without white space; '' if it is none."""
    if not isinstance(data, str):
        return ""
    compact = "".join(data.split())
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return compact
