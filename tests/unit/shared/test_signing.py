"""The signing key as a setting, and what of it may be seen."""

import pytest

from skep_shared.errors import InvalidArgument, SignatureRefused
from skep_shared.settings import Settings, WorkerSettings
from skep_shared.signing import Signer, make_signer

KEY, OLDER = "k" * 32, "o" * 40


def test_without_a_key_nothing_is_signed():
    assert make_signer(Settings.load().signing_key, "{skep}") is None


def test_the_first_of_several_keys_signs(monkeypatch):
    monkeypatch.setenv("SKEP_SIGNING_KEY", f"{KEY}, {OLDER}")
    signer = make_signer(Settings.load().signing_key, "{skep}")

    assert signer is not None
    assert signer.seal("cell", "s", "c", b"x") == Signer([KEY], "{skep}").seal("cell", "s", "c", b"x")
    assert signer.key_id == Signer([KEY], "{skep}").key_id
    assert signer.key_ids.split() == [signer.key_id, Signer([OLDER], "{skep}").key_id]


@pytest.mark.parametrize("value", ["short-and-secret", f"{KEY},short-and-secret", " , "])
def test_a_short_key_is_refused_without_showing_it(monkeypatch, value):
    monkeypatch.setenv("SKEP_SIGNING_KEY", value)
    with pytest.raises(InvalidArgument, match="at least 32 bytes") as caught:
        WorkerSettings.load()

    assert caught.value.field == "signing_key"
    assert "short-and" not in f"{caught.value!r} {caught.value} {caught.value.args} {caught.value.__cause__}"


def test_no_representation_shows_a_key():
    settings = WorkerSettings.load(signing_key=KEY)
    signer = make_signer(settings.signing_key, "{skep}")

    assert (
        KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {signer!r} {signer}"
    )


def test_an_unsigned_thing_and_a_wrongly_signed_one_have_different_reasons():
    signer = Signer([KEY], "{skep}")
    with pytest.raises(
        SignatureRefused, match=r"cell 'c' of session 's' is refused: it is not signed.*SKEP_SIGNING_KEY"
    ):
        signer.open("cell", "s", "c", b"\x81\xa4code\xa11")
    with pytest.raises(SignatureRefused, match="its signature is not by a key"):
        signer.open("cell", "s", "c", Signer([OLDER], "{skep}").seal("cell", "s", "c", b"x"))
