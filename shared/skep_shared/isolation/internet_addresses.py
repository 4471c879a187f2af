"""Which IP addresses the proxy of sessions connects to: public ones, and those that the operator adds.

The tables follow the IANA registries of special-purpose addresses. They are written out, because `is_global` of the
standard library differs between patch releases of Python. An IPv6 address that stands for an IPv4 address (v4-mapped,
NAT64) is judged by that one. Addresses that carry an IPv4 address for a tunnel (6to4, Teredo) are refused.

Metadata services of clouds have credentials of the machine. Most have link-local addresses; the others are listed.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from skep_shared.errors import InvalidArgument

Address = IPv4Address | IPv6Address
InternalNetworks = Sequence[IPv4Network | IPv6Network]

_METADATA: Final = {
    IPv4Address("169.254.169.254"): "AWS, Azure, Google Cloud and others",
    IPv4Address("169.254.170.2"): "AWS containers",
    IPv4Address("168.63.129.16"): "Azure's host",  # a public address
    IPv4Address("100.100.100.200"): "Alibaba Cloud",
    IPv4Address("192.0.0.192"): "Oracle Cloud",
    IPv6Address("fd00:ec2::254"): "AWS",
    IPv6Address("fd20:ce::254"): "Google Cloud",
}
_PRIVATE: Final = {
    "10.0.0.0/8": "a private",
    "172.16.0.0/12": "a private",
    "192.168.0.0/16": "a private",
    "100.64.0.0/10": "a private (shared)",
    "127.0.0.0/8": "a loopback",
    "fc00::/7": "a private",
    "::1/128": "a loopback",
}  # what an operator may permit
_SPECIAL: Final = {
    "0.0.0.0/8": "an unspecified",
    "169.254.0.0/16": "a link-local",
    "192.0.0.0/24": "a reserved",
    "192.0.2.0/24": "a documentation",
    "192.88.99.0/24": "a reserved",
    "198.18.0.0/15": "a benchmark",
    "198.51.100.0/24": "a documentation",
    "203.0.113.0/24": "a documentation",
    "224.0.0.0/4": "a multicast",
    "240.0.0.0/4": "a reserved or broadcast",
    "2001::/23": "a reserved or Teredo",
    "2001:db8::/32": "a documentation",
    "2002::/16": "a 6to4",
    "3fff::/20": "a documentation",
    "fe80::/10": "a link-local",
    "fec0::/10": "a site-local",
    "ff00::/8": "a multicast",
}
_KINDS: Final = tuple((ip_network(text), kind) for text, kind in (_PRIVATE | _SPECIAL).items())
_INTERNAL: Final = tuple(ip_network(text) for text in _PRIVATE)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # everything else of IPv6 is special or not assigned
_V4_IN_V6: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # v4-mapped, NAT64
_V4_BITS: Final = 0xFFFF_FFFF


def reason_against(address: Address, internal: InternalNetworks = ()) -> str:
    """Return what kind of address it is if sessions must not connect to it, '' if they may.

    internal: networks of private addresses to which the operator lets sessions connect.
    """
    meant = _embedded(address)
    if meant in _METADATA:
        return "the address of a metadata service"
    if any(meant in network for network in internal):
        return ""
    for network, kind in _KINDS:
        if meant in network:
            return f"{kind} address"
    if isinstance(meant, IPv6Address) and meant not in _GLOBAL_UNICAST:
        return "a special address"
    return ""


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, otherwise the address without its zone."""
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))
        if any(address in network for network in _V4_IN_V6):
            return IPv4Address(int(address) & _V4_BITS)
    return address


def check_internal_network(text: str) -> IPv4Network | IPv6Network:
    """Return the network of private addresses that a setting names. Raises InvalidArgument."""
    try:
        network = ip_network(text)
    except ValueError as exc:
        raise InvalidArgument("network_internal", text, f"must be a network such as 10.1.0.0/16: {exc}") from exc
    if not any(_is_within(network, private) for private in _INTERNAL):
        private = ", ".join(_PRIVATE)
        raise InvalidArgument("network_internal", text, f"must be within one of {private}: others are never private")
    return network


def _is_within(network: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(outer, IPv4Network) and network.subnet_of(outer)
    return isinstance(outer, IPv6Network) and network.subnet_of(outer)


def parse_address(text: str) -> Address:
    """Return the address that a resolver has given, without a zone. Raises ValueError."""
    return ip_address(text.partition("%")[0])
