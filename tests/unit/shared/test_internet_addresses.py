"""Which addresses sessions may connect to: no private, local, multicast, reserved or metadata address in any form."""

from ipaddress import ip_network

import pytest

from skep_shared.isolation.internet_addresses import parse_address, reason_against

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "192.167.1.1", "100.63.255.255", "100.128.0.1",
    "223.255.255.255", "198.17.255.255", "198.20.0.1", "11.0.0.0", "128.0.0.1",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
]  # fmt: skip
REFUSED = {
    "0.1.2.3": "unspecified", "10.0.0.1": "private", "10.255.255.255": "private",
    "100.64.0.1": "shared", "100.127.255.255": "shared", "127.0.0.1": "loopback", "127.255.255.254": "loopback",
    "169.254.0.1": "link-local", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private",
    "192.0.0.1": "reserved", "192.0.2.1": "documentation", "192.88.99.1": "reserved", "198.18.0.1": "benchmark",
    "198.19.255.255": "benchmark", "198.51.100.1": "documentation", "203.0.113.1": "documentation",
    "224.0.0.1": "multicast", "239.255.255.255": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "broadcast",
    "169.254.169.254": "metadata", "169.254.170.2": "metadata", "168.63.129.16": "metadata",
    "100.100.100.200": "metadata", "192.0.0.192": "metadata", "fd00:ec2::254": "metadata", "fd20:ce::254": "metadata",
    "::": "special", "::1": "loopback", "::7f00:1": "special", "::127.0.0.1": "special",
    "fe80::1": "link-local", "fe80::1%eth0": "link-local", "febf::1": "link-local", "fec0::1": "site-local",
    "fc00::1": "private", "fd12:3456::1": "private", "ff02::1": "multicast", "100::1": "special",
    "2001:db8::1": "documentation", "2001::1": "Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:10::1": "reserved", "2002:7f00:1::1": "6to4", "2002:808:808::1": "6to4", "3fff::1": "documentation",
    "4000::1": "special", "5f00::1": "special",
    "::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "metadata",
    "::ffff:0.0.0.0": "unspecified", "64:ff9b::127.0.0.1": "loopback", "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b::192.168.0.1": "private", "64:ff9b:1::8.8.8.8": "special", "::ffff:0:127.0.0.1": "special",
    "0.0.0.0": "unspecified",  # noqa: S104 - an address that must not be connected to
}  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_permitted(text):
    assert reason_against(parse_address(text)) == ""


@pytest.mark.parametrize(("text", "kind"), REFUSED.items())
def test_other_addresses_are_refused_with_their_kind(text, kind):
    assert kind in reason_against(parse_address(text))


@pytest.mark.parametrize("text", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_an_operator_permits_a_private_network(text):
    assert reason_against(parse_address(text), [ip_network("10.1.0.0/16")]) == ""
    assert reason_against(parse_address("10.2.0.1"), [ip_network("10.1.0.0/16")])


@pytest.mark.parametrize(("metadata", "around"), [("100.100.100.200", "100.64.0.0/10"), ("fd00:ec2::254", "fc00::/7")])
def test_no_operator_permits_a_metadata_address(metadata, around):
    assert "metadata" in reason_against(parse_address(metadata), [ip_network(around)])
