"""Options of a session that can make programs run code are signed, and count only as they were signed."""

import pytest

from skep_shared.broker.signatures import check_options, sign_options
from skep_shared.errors import SignatureRefused
from skep_shared.models import SessionOptions
from skep_shared.signing import Signer

OPTIONS = {"env": {"APP_TOKEN": "t"}, "cwd": "work", "packages": ("attrs==25.*",)}
OTHERS = {"env": {"BASH_ENV": "x"}, "cwd": "other", "packages": ("else",)}


@pytest.fixture
def signer():
    return Signer(["k" * 32], "t")


def signed(signer, **options):
    return sign_options(signer, "s", SessionOptions(**options).pack())


@pytest.mark.parametrize("options", [{}, OPTIONS, *({name: value} for name, value in OPTIONS.items())], ids=str)
def test_signed_options_count_in_each_session_of_the_tenant(signer, options):
    packed = signed(signer, **options)

    check_options(signer, "s", packed)
    check_options(signer, "fork", packed)
    assert SessionOptions.unpack(packed) == SessionOptions(**options)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_is_not_signed_is_refused(signer, name):
    with pytest.raises(SignatureRefused, match=f"{name} in the options of session 's'"):
        check_options(signer, "s", SessionOptions(**{name: OPTIONS[name]}).pack())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_is_changed_is_refused(signer, name):
    packed = signed(signer, **OPTIONS).replace(
        SessionOptions(**{name: OPTIONS[name]}).pack()[1:], SessionOptions(**{name: OTHERS[name]}).pack()[1:]
    )
    assert SessionOptions.unpack(packed) == SessionOptions(**OPTIONS | {name: OTHERS[name]})

    with pytest.raises(SignatureRefused):
        check_options(signer, "s", packed)
