"""The URL of Redis: its permitted options, the form for Sentinel, and a form without secrets for messages.

Options of the driver that would break skep's assumptions (replies as bytes, RESP2, its own time limits, no retries) are
refused by name. Neither ignoring nor obeying them would do: a client with `decode_responses` waits forever.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel")
SENTINEL_PORT: Final = 26379

_COMMON: Final = ("username", "password", "client_name", "health_check_interval")
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": ("db", *_COMMON, "socket_keepalive"),
    "rediss": ("db", *_COMMON, "socket_keepalive", "ssl_*"),
    "unix": ("db", *_COMMON),
    "redis+sentinel": ("client_name", "health_check_interval", "socket_keepalive", "sentinel_*"),
}
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
# Options for which there is a setting.
_SETTINGS: Final = {
    "socket_timeout": "command_timeout_seconds",
    "timeout": "command_timeout_seconds",
    "socket_connect_timeout": "connect_timeout_seconds",
    "max_connections": "max_connections",
}
# Credentials that urlsplit would cut short, and passwords outside of the credentials.
_CUT_CREDENTIALS: Final = re.compile(r"(?!unix:)[^:]*://[^@/?#]*[/?#][^@]*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&][^=&]*password=)[^&#]*", re.IGNORECASE)
_END_OF_PLACE: Final = re.compile("[/?#]")


class RefusedOption(ValueError):
    """An option in the URL is refused; the text says which and why, and quotes no value."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """The parts of a redis+sentinel:// URL: the sentinels' addresses, and the options for the service's master."""

    addresses: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, object]
    sentinel_options: dict[str, str]


def check_options(url: str) -> None:
    """Raise RefusedOption for options in the URL that aren't known to be harmless. Raises ValueError."""
    scheme, _, rest = url.partition("://")
    _check_names(scheme, parse_qs(rest.partition("?")[2].partition("#")[0], keep_blank_values=True))


def _check_names(scheme: str, names: Iterable[str]) -> None:
    known = _OPTIONS[scheme]
    for name in names:
        family = f"{name.partition('_')[0]}_*"
        if name in known or (family in known and (family != "sentinel_*" or name in _SENTINEL_OPTIONS)):
            continue
        setting = _SETTINGS.get(name)
        why = f"set {setting} (SKEP_{setting.upper()}) instead" if setting else f"skep knows {', '.join(known)}"
        raise RefusedOption(f"its option {name!r} is refused: {why}")


def read_sentinel_url(url: str) -> SentinelUrl:
    """Read redis+sentinel://[user:password@]host:port,host:port/service[/db][?sentinel_password=…].

    Raises ValueError for another URL.
    """
    # By hand: urlsplit accepts one host, and with the fix of CVE-2025-0938 it refuses [::1] among several.
    scheme, _, rest = url.partition("://")
    place = _END_OF_PLACE.split(rest, maxsplit=1)[0]
    parts = urlsplit(f"{scheme}://{rest[len(place) :]}")
    credentials, _, hosts = place.rpartition("@")
    user, _, password = credentials.partition(":")
    path = parts.path.strip("/").split("/")
    if not hosts or not path[0]:
        raise ValueError("redis+sentinel:// needs host:port,host:port/service[/db]")
    addresses = []
    for host in hosts.split(","):
        address = urlsplit(f"//{host}")
        if not address.hostname:
            raise ValueError("redis+sentinel:// needs a name for every host")
        addresses.append((address.hostname, address.port or SENTINEL_PORT))
    options: dict[str, object] = {"db": int(path[1]) if len(path) > 1 else 0}
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if "client_name" in query:
        options["client_name"] = query["client_name"]
    if "health_check_interval" in query:
        options["health_check_interval"] = float(query["health_check_interval"])
    if "socket_keepalive" in query:
        options["socket_keepalive"] = query["socket_keepalive"].lower() not in {"", "0", "f", "false", "n", "no"}
    sentinel_options = {name.removeprefix("sentinel_"): query[name] for name in _SENTINEL_OPTIONS if name in query}
    return SentinelUrl(tuple(addresses), path[0], options, sentinel_options)


def redacted(url: str) -> str:
    """Return the URL without its passwords, for messages and logs; it need not be a valid one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    credentials, at, place = rest.rpartition("@")
    if at:
        rest = f"{credentials.partition(':')[0]}:***@{place}"
    return scheme + separator + _QUERY_PASSWORD.sub(r"\1***", rest)


def why_unreadable(url: str, exc: Exception) -> str:
    """Return the reason: the library's own text, unless that could quote from a password."""
    if _CUT_CREDENTIALS.match(url):
        return "a / ? or # in the user name or password must be percent-encoded"
    return str(exc)
