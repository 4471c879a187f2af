"""Whether a request that a cookie authenticates was made by the gateway's own page. No I/O.

A cookie is sent with requests that other pages cause. `SameSite=Strict` stops other sites, but every port of this
machine is the same site, and a page on another port may be anyone's. So the `Origin` has to be the gateway's own, and a
request that changes something also has to show a text that only the gateway's own page can read.
"""

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from skep.gateway.host_names import read_host

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER: Final = "x-skep-csrf"
_OWN_SITES: Final = frozenset({"same-origin", "none"})


def why_foreign(method: str, scheme: str, headers: Mapping[str, str], csrf: str) -> str:
    """Return why a request is refused that has the cookie of a login, "" if it is not.

    headers: by lower-case names. csrf: that of the login. A websocket's handshake counts as a request that changes
    something, but can't have the CSRF header; its Origin is enough, because pages can't leave it out.
    """
    is_socket = scheme in {"ws", "wss"}
    is_safe = method in SAFE_METHODS and not is_socket
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and not _is_same(origin, scheme, headers.get("host", "")):
        return "the Origin is not this gateway's"
    if origin is None and not _may_lack_origin(headers, site, is_safe=is_safe):
        return "another page has made the request" if site else "it has no Origin"
    if is_safe or is_socket:
        return ""
    if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode("utf-8", "replace"), csrf.encode()):
        return f"the header {CSRF_HEADER} is missing or wrong"
    return ""


def _may_lack_origin(headers: Mapping[str, str], site: str | None, *, is_safe: bool) -> bool:
    if site is None:  # no browser, or an old one: those send an Origin with what changes something
        return is_safe
    if site in _OWN_SITES:
        return is_safe or site == "same-origin"
    # A link on another page may lead here: what it opens can't be read by that page.
    return is_safe and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _is_same(origin: str, scheme: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme != {"ws": "http", "wss": "https"}.get(scheme, scheme):
        return False
    theirs = read_host(parts.scheme, parts.netloc)
    return theirs is not None and theirs == read_host(scheme, host)
