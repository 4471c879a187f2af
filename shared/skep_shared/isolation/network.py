"""The network of sessions: how much of it a session may have, and which hosts an allow-list names.

A host of an allow-list is a name (`example.org`) or all names below one (`*.example.org`, which does not include
`example.org`), with ports 80 and 443; or with one other port (`example.org:8443`). Addresses are not accepted: which
machine an address leads to is nothing that a reader of the list could check, and the proxy refuses them anyway.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from skep_shared.errors import InvalidArgument


class Network(StrEnum):
    """What sessions may connect to, the narrowest first."""

    NONE = "none"
    ALLOW_LIST = "allow-list"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class GrantedNetwork:
    """The network of a session process.

    ports: of the proxy, if the network is an allow-list; no other ports may be connected to. variables: that the
    session gets in its environment.
    """

    network: Network = Network.NONE
    ports: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def pack(self) -> list[object]:
        """Return it as plain values."""
        return [str(self.network), list(self.ports), dict(self.variables)]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Self:
        """Return the network of such values; no network for none."""
        return cls(Network(packed[0]), tuple(packed[1]), packed[2]) if packed else cls()


BREADTH: Final = tuple(Network)
MAX_ALLOWED_HOSTS: Final = 100
DEFAULT_PORTS: Final = frozenset({80, 443})
LAST_PORT: Final = 65_535
_MOST_CHARS: Final = 253  # of a host name
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a name that ends in one is an IPv4 address to most resolvers
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_WILDCARD: Final = "*."


class HostPattern(NamedTuple):
    """An entry of an allow-list.

    name: in lower case; with `is_wildcard` all names below it are meant. port: None for 80 and 443.
    """

    name: str
    is_wildcard: bool = False
    port: int | None = None

    def matches(self, name: str, port: int) -> bool:
        """Return whether a name, as `host_name` returns it, and a port are meant."""
        if port not in (DEFAULT_PORTS if self.port is None else (self.port,)):
            return False
        return name.endswith(f".{self.name}") if self.is_wildcard else name == self.name

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the pattern that a text means. Raises InvalidArgument, with the rule that it violates."""
        if not isinstance(text, str):
            raise InvalidArgument("allowed_hosts", text, f"a str is needed, not {type(text).__name__}")
        if rule := _violated_rule(text):
            raise InvalidArgument("allowed_hosts", text, rule)
        host, _, port = text.partition(":")
        is_wildcard = host.startswith(_WILDCARD)
        name = host_name(host.removeprefix(_WILDCARD))
        if name is None:
            raise InvalidArgument("allowed_hosts", text, _NAME_RULE)
        return cls(name, is_wildcard, int(port) if port else None)


_NAME_RULE: Final = (
    "must be a host name of letters, digits, hyphens and dots, at most 253 characters, 63 between dots; names in other "
    "alphabets in their form for the DNS (xn--…)"
)


def _violated_rule(text: str) -> str:
    """Return the rule about the form that a pattern violates, '' if none."""
    host, colon, port = text.partition(":")
    if "//" in text or "@" in text:
        return "must be a host name, not a URL: without scheme, user and path"
    if "/" in text or "?" in text or "#" in text:
        return "must be a host name without a path: all of a host is permitted, or nothing of it"
    if text.startswith("[") or ":" in port or _is_address(host):
        return "must be a host name, not an address"
    if "*" in host.removeprefix(_WILDCARD):
        return "a wildcard is only possible as the whole first part, *.example.org"
    if colon and not (_PORT.fullmatch(port) and int(port) <= LAST_PORT):
        return f"the port must be a number from 1 to {LAST_PORT}"
    return ""


def host_name(text: str) -> str | None:
    """Return a host name in the form in which names are compared, None if it isn't one; an address is none."""
    name = text.lower().removesuffix(".")
    is_name = text.isascii() and len(name) <= _MOST_CHARS and _NAME.fullmatch(name) is not None
    return name if is_name and not _is_address(name) else None


def _is_address(host: str) -> bool:
    """Return whether resolvers read it as an IPv4 address, in any of its forms: 127.0.0.1, 127.1, 0x7f000001."""
    last = host.lower().removesuffix(".").rpartition(".")[2]
    return _NUMBER.fullmatch(last) is not None


def check_hosts(hosts: Iterable[object]) -> tuple[HostPattern, ...]:
    """Return the patterns of an allow-list. Raises InvalidArgument."""
    given = tuple(hosts)
    if len(given) > MAX_ALLOWED_HOSTS:
        raise InvalidArgument("allowed_hosts", given, f"at most {MAX_ALLOWED_HOSTS} hosts, these are {len(given)}")
    return tuple(map(HostPattern.parse, given))


def check_network(network: str | None, allowed_hosts: Iterable[object], widest: str) -> None:
    """Raise InvalidArgument if options of a session are malformed, or ask for more than `widest` ('': unknown)."""
    if check_hosts(allowed_hosts) and network != Network.ALLOW_LIST:
        rule = f'has an effect only with network="{Network.ALLOW_LIST}"'
        raise InvalidArgument("allowed_hosts", tuple(allowed_hosts), rule)
    if network is not None and widest and BREADTH.index(Network(network)) > BREADTH.index(Network(widest)):
        raise InvalidArgument("network", network, f"the operator permits at most {widest!r} (SKEP_NETWORK)")
