"""Errors of code that needs a network which its session doesn't have say what to ask for."""

import errno
import socket

import pytest

from skep_shared.isolation.network import Network
from skep_workers.session.errors.network_hint import HINTS, add_network_hint


class NoList(PermissionError):
    """An error whose notes are no list."""

    __notes__ = 5


class Fails(PermissionError):
    """An error whose notes can't be read."""

    @property
    def __notes__(self):
        raise RuntimeError("no notes")


def refusal(kind=PermissionError):
    return kind(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("network", HINTS)
@pytest.mark.parametrize("exc", [refusal(), socket.gaierror(-3, "Temporary failure")], ids=repr)
def test_the_hint_is_added_once(network, exc):
    exc.__notes__ = []
    add_network_hint(exc, network)
    add_network_hint(exc, network)

    assert exc.__notes__ == [HINTS[network]]


def test_an_error_that_has_it_as_its_cause_gets_it_too():
    exc = RuntimeError("no answer")
    exc.__cause__ = refusal()
    add_network_hint(exc, Network.NONE)

    assert exc.__notes__ == [HINTS[Network.NONE]]


@pytest.mark.parametrize("exc", [PermissionError(errno.EACCES, "no", "/etc/shadow"), ValueError("no")], ids=repr)
def test_another_error_gets_none(exc):
    add_network_hint(exc, Network.NONE)

    assert not hasattr(exc, "__notes__")


@pytest.mark.parametrize("kind", [NoList, Fails])
def test_notes_of_another_kind_are_left_alone(kind):
    add_network_hint(refusal(kind), Network.NONE)
