"""The headers of the console's files: what a browser may load and run because of them.

The page runs only scripts and styles that are files of the console, and connects only to the gateway. HTML that cells
have shown is a document of its own, `frame/frame.html`, with two protections, either of which is enough: the page puts
it into `<iframe sandbox>` without `allow-same-origin`, and its own policy has `sandbox`. So its origin is not the
page's, and it has none of the page's storage, cookies and objects. The only script that runs there is the one that
puts the HTML into it.

Things that don't work: `srcdoc`, `blob:` and `data:` documents inherit the page's policy, which forbids the styles that
nearly every table has; permitting them there would permit them in the page.
"""

from typing import Final

FRAME_FOLDER: Final = "frame/"

_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_FRAME: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_COMMON: Final = {"Cache-Control": "no-cache"}  # stored, and compared by ETag at each use: an update is seen at once
PAGE_HEADERS: Final = _COMMON | {
    "Content-Security-Policy": _PAGE,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
# Its documents have an origin of their own, which `same-origin` would keep from loading their script and style.
FRAME_HEADERS: Final = _COMMON | {"Content-Security-Policy": _FRAME}


def headers_of(path: str) -> dict[str, str]:
    """Return the headers of a file of the console."""
    return FRAME_HEADERS if path.startswith(FRAME_FOLDER) else PAGE_HEADERS
