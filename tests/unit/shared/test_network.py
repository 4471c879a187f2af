"""Hosts of an allow-list: what is one, what it matches, and what is refused with which rule."""

import pytest

from skep_shared.broker.submission import pack_options
from skep_shared.errors import InvalidArgument
from skep_shared.isolation.network import MAX_ALLOWED_HOSTS, HostPattern, check_hosts, check_network, host_name
from skep_shared.models import SessionOptions
from skep_shared.settings import Settings, WorkerSettings


@pytest.mark.parametrize(
    ("pattern", "name", "port"),
    [
        ("example.org", "example.org", 443),
        ("example.org", "example.org", 80),
        ("Example.ORG.", "example.org", 443),
        ("example.org:8443", "example.org", 8443),
        ("*.example.org", "www.example.org", 443),
        ("*.example.org", "a.b.example.org", 80),
        ("*.example.org:22", "a.example.org", 22),
        ("localhost", "localhost", 80),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", 443),
        ("_service.example.org", "_service.example.org", 443),
    ],
)
def test_a_host_is_matched_by_its_pattern(pattern, name, port):
    assert HostPattern.parse(pattern).matches(name, port)


@pytest.mark.parametrize(
    ("pattern", "name", "port"),
    [
        ("example.org", "www.example.org", 443),
        ("example.org", "example.org.evil.net", 443),
        ("example.org", "example.org", 8443),
        ("example.org:8443", "example.org", 443),
        ("*.example.org", "example.org", 443),
        ("*.example.org", "badexample.org", 443),
        ("*.example.org", "www.example.org", 22),
    ],
)
def test_no_other_host_is_matched(pattern, name, port):
    assert not HostPattern.parse(pattern).matches(name, port)


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("https://example.org", "not a URL"),
        ("//example.org", "not a URL"),
        ("user@example.org", "not a URL"),
        ("example.org/simple", "without a path"),
        ("example.org?x", "without a path"),
        ("10.0.0.1", "not an address"),
        ("127.1", "not an address"),
        ("0x7f000001", "not an address"),
        ("2130706433:80", "not an address"),
        ("1.2.3.4.", "not an address"),
        ("::1", "not an address"),
        ("[::1]:443", "not an address"),
        ("*", "a wildcard"),
        ("*.*.org", "a wildcard"),
        ("www.*.org", "a wildcard"),
        ("ex*.org", "a wildcard"),
        ("example.org:", "the port"),
        ("example.org:0", "the port"),
        ("example.org:65536", "the port"),
        ("example.org:https", "the port"),
        ("", "a host name"),
        (".org", "a host name"),
        ("-a.org", "a host name"),
        ("a..org", "a host name"),
        ("a b.org", "a host name"),
        ("a.org\n", "a host name"),
        ("bücher.example", "a host name"),
        ("a" * 64 + ".org", "a host name"),
        (".".join(["abcdefghi"] * 26), "a host name"),
        (7, "a str is needed"),
    ],
)
def test_what_is_no_host_is_refused_with_the_rule(pattern, rule):
    with pytest.raises(InvalidArgument) as caught:
        check_hosts([pattern])

    assert (caught.value.field, caught.value.value) == ("allowed_hosts", pattern)
    assert rule in caught.value.limit


def test_a_list_has_an_end():
    check_hosts(["example.org"] * MAX_ALLOWED_HOSTS)
    with pytest.raises(InvalidArgument, match="at most 100 hosts, these are 101"):
        check_hosts(["example.org"] * (MAX_ALLOWED_HOSTS + 1))


@pytest.mark.parametrize(
    "text", ["example.org\r", "a b", "", "1.2.3.4", "0x7f.1", "a/b", "a:80", "\u017f.org", "\u212a.org"]
)
def test_what_a_client_asks_for_is_a_name_or_nothing(text):
    assert host_name(text) is None


@pytest.mark.parametrize("network", [None, "none", "host"])
def test_hosts_need_an_allow_list(network):
    with pytest.raises(InvalidArgument, match='only with network="allow-list"'):
        check_network(network, ("example.org",), "")


@pytest.mark.parametrize(("network", "widest"), [("host", "allow-list"), ("host", "none"), ("allow-list", "none")])
def test_more_than_the_operator_permits_is_refused(network, widest):
    with pytest.raises(InvalidArgument, match=f"at most '{widest}'"):
        pack_options(SessionOptions(network=network), Settings(network=widest))


@pytest.mark.parametrize(
    ("network", "widest"), [("none", "none"), ("allow-list", "host"), ("host", "host"), ("host", ""), (None, "none")]
)
def test_what_the_operator_permits_is_stored(network, widest):
    packed = pack_options(SessionOptions(network=network), Settings(network=widest))

    assert SessionOptions.unpack(packed).network == network


def test_a_malformed_host_is_refused_before_anything_is_written():
    with pytest.raises(InvalidArgument, match=r"allowed_hosts: 'https://example\.org' is refused: must be a host name"):
        pack_options(SessionOptions(network="allow-list", allowed_hosts=("https://example.org",)), Settings())


def test_hosts_survive_storage():
    options = SessionOptions(network="allow-list", allowed_hosts=("example.org", "*.example.com:8443"))

    assert SessionOptions.unpack(pack_options(options, Settings())) == options


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("network", "lan", "none|allow-list|host"),
        ("network_default", "some", "none|allow-list|host"),
        ("network_hosts", ["10.0.0.1"], "not an address"),
        ("network_internal", ["10.0.0.0/4"], "must be a network"),
        ("network_internal", ["8.8.8.0/24"], "must be within one of 10.0.0.0/8"),
        ("network_internal", ["169.254.0.0/16"], "must be within one of"),
        ("network_internal", ["0.0.0.0/0"], "must be within one of"),
    ],
)
def test_settings_are_checked(field, value, words):
    with pytest.raises(InvalidArgument) as caught:
        WorkerSettings.load(**{field: value})

    assert caught.value.field == field
    assert words in str(caught.value)
