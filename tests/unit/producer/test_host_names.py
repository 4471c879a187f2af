"""Which names in a Host header are the gateway's own, by the address that it listens on."""

import pytest

from skep.gateway.host_names import HostNames

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - the setting that is judged here


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "[::1]:8765", "LOCALHOST"])
@pytest.mark.parametrize("bound_to", ["127.0.0.1", "10.0.0.5", ALL_ADDRESSES])
def test_names_of_this_machine_are_accepted(bound_to, host):
    assert HostNames(bound_to).accept(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.", "x@localhost", "127.0.0.2", "localhost:x", "[::1"],
)
def test_other_names_are_refused_on_a_loopback_address(host):
    assert not HostNames("127.0.0.1").accept(host)


@pytest.mark.parametrize("host", ["", "evil.example", "10.0.0.5.evil.example", "10.0.0.6", "x@10.0.0.5"])
def test_other_names_are_refused_on_another_address(host):
    assert HostNames("10.0.0.5").accept("10.0.0.5:8070")
    assert not HostNames("10.0.0.5").accept(host)


@pytest.mark.parametrize("bound_to", [ALL_ADDRESSES, "::"])
def test_on_all_addresses_each_of_them_is_accepted_and_no_other_name(bound_to):
    names = HostNames(bound_to)

    assert names.accept("10.0.0.5:8070")
    assert names.accept("[fd00::5]:8070")
    assert not names.accept("evil.example")
    assert not names.accept("10.0.0.5.evil.example")


def test_a_name_that_is_set_is_accepted_everywhere_with_its_port_if_it_has_one():
    for bound_to in ("127.0.0.1", ALL_ADDRESSES):
        names = HostNames(bound_to, ["Skep.example", "other.example:8443"])

        assert names.accept("skep.example")
        assert names.accept("SKEP.example:80")
        assert names.accept("other.example:8443")
        assert not names.accept("other.example")
        assert not names.accept("third.example")


def test_a_star_accepts_any_name_but_no_text_that_is_none():
    names = HostNames("10.0.0.5", ["*"])

    assert names.accept("any.example:1")
    assert not names.accept("")
    assert not names.accept("a@b")
