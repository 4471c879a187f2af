"""The head of a request to the proxy: strict parsing, and the head that is sent on.

Only two forms are accepted, `CONNECT host:port` and `METHOD http://host[:port]/path`. A connection carries one request:
the head that is sent on asks the server to close the connection after its answer, and what follows the head is passed
on as it is. So no body has to be parsed, and no parser can disagree with another one about where a request ends.

Things that don't work:
- Keeping connections: the length of every body, and of every answer, would have to be understood exactly as the server
  does. Programs that use a connection for many requests use HTTPS, and so CONNECT.
- h11, which parses heads well: all of the rest of it would be unused, and every worker would need one more package.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from skep_shared.isolation.network import LAST_PORT

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rf"({_NAME}) ([\x21-\x7e]+) HTTP/1\.[01]")
_HEADER: Final = re.compile(
    rf"({_NAME}):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|)[ \t]*"
)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@]+)(?::([0-9]{1,5}))?")
_AFTER_SCHEME: Final = re.compile(r"([^/?#]*)(/[^?#]*)?(\?[^#]*)?")
_DIGITS: Final = re.compile(r"[0-9]+")
_HTTP: Final = "http://"
_HTTP_PORT: Final = 80
_OF_THIS_CONNECTION: Final = frozenset(
    {
        "connection",
        "host",  # replaced by that of the target
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "upgrade",
    }
)


class BadRequest(Exception):
    """A request that is answered with this status, and a reason that says what is wrong with it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a client wants.

    host: as the client wrote it, not checked. password: of its credentials, '' if it gave none. onward: the head for
    the server, b"" for a tunnel.
    """

    host: str
    port: int
    password: str
    onward: bytes

    @property
    def is_tunnel(self) -> bool:
        """Return whether the client wants a connection whose bytes are its own affair."""
        return not self.onward


def parse_head(data: bytes) -> RequestHead:
    """Return what a head, with the empty line at its end, asks for. Raises BadRequest."""
    first, *lines = data.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise BadRequest(400, "the request line is not METHOD TARGET HTTP/1.1")
    method, target = found.groups()
    headers = _parse_headers(lines)
    password = _password([value for name, value in headers if name.lower() == "proxy-authorization"])
    if method == "CONNECT":
        host, port = _parse_authority(target, None)
        return RequestHead(host, port, password, b"")
    if target[: len(_HTTP)].lower() != _HTTP:
        raise BadRequest(400, "this is a proxy: it takes CONNECT host:port, and http:// URLs as targets")
    parts = _AFTER_SCHEME.fullmatch(target, len(_HTTP))
    if parts is None:
        raise BadRequest(400, "a target has no fragment")
    authority, path, query = parts.groups(default="")
    host, port = _parse_authority(authority, _HTTP_PORT)
    _check_framing(headers)
    return RequestHead(host, port, password, _onward(method, (path or "/") + query, authority, headers))


def _parse_headers(lines: list[str]) -> list[tuple[str, str]]:
    if len(lines) > MAX_HEADERS:
        raise BadRequest(431, f"more than {MAX_HEADERS} header fields")
    headers = []
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadRequest(400, "a header field is not NAME: VALUE")
        headers.append((found[1], found[2]))
    return headers


def _parse_authority(text: str, default_port: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    port = default_port if found is None or found[2] is None else int(found[2])
    if found is None or port is None or not 1 <= port <= LAST_PORT:
        raise BadRequest(400, "the target's host and port are not HOST:PORT")
    return found[1], port


def _password(values: list[str]) -> str:
    if not values:
        return ""
    scheme, _, encoded = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "basic":
        raise BadRequest(400, "one field Proxy-Authorization of the scheme Basic is needed")
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequest(400, "the field Proxy-Authorization is not valid") from None


def _check_framing(headers: list[tuple[str, str]]) -> None:
    """Refuse heads that servers could disagree about."""
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    encodings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    if len(lengths) + len(encodings) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
        raise BadRequest(400, "the length of the body is given more than once, or is not a number")
    if any(value.lower() != "chunked" for value in encodings):
        raise BadRequest(400, "the only transfer coding is chunked")


def _onward(method: str, target: str, authority: str, headers: list[tuple[str, str]]) -> bytes:
    named = {
        each.strip().lower() for name, value in headers if name.lower() == "connection" for each in value.split(",")
    }
    dropped = _OF_THIS_CONNECTION | named - {"content-length", "transfer-encoding"}
    kept = [f"{name}: {value}" for name, value in headers if name.lower() not in dropped]
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
