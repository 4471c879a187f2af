"""Which names in a Host header are the gateway's own. No I/O.

A page from a name that an attacker's DNS server later resolves to the gateway's address has the same origin as the
gateway, but its Host header is that name. Only a name can be led elsewhere by DNS, so a gateway on all addresses of a
machine accepts every address.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_NAME: Final = "*"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class HostNames:
    """The names of this machine, the address that the gateway listens on, and the names that the operator has set."""

    def __init__(self, bound_to: str, names: Iterable[str] = ()) -> None:
        """`bound_to`: an address or a name. `names`: NAME or NAME:PORT; `*` is any name."""
        self._names = frozenset(name.lower() for name in names)
        self._own = LOOPBACK_NAMES | {bound_to.lower()}
        self._is_on_all_addresses = (address := _address(bound_to)) is not None and address.is_unspecified

    def accept(self, host: str) -> bool:
        """Return whether a Host header has one of them."""
        place = read_host("http", host)
        if place is None:
            return False
        name = place[0]
        if name in self._own or not self._names.isdisjoint({ANY_NAME, name, host.lower()}):
            return True
        return self._is_on_all_addresses and _address(name) is not None


def read_host(scheme: str, host: str) -> tuple[str, int] | None:
    """Return the name, in lower case, and the port of HOST or HOST:PORT; None for another text."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or _DEFAULT_PORTS[scheme]
    except (ValueError, KeyError):
        return None
    if parts.netloc != host or "@" in host or not parts.hostname:
        return None
    return parts.hostname, port


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
