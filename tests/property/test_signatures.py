"""Signatures: what was signed is accepted, and nothing that was changed, cut, or taken from elsewhere."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skep_shared.errors import SignatureRefused
from skep_shared.signing import SEAL_BYTES, Signer, signed_fields, unsealed

KEYS = ["first-key-of-the-shard-0123456789ab", "older-key-of-the-shard-0123456789ab"]
SIGNER = Signer(KEYS, "{skep}")
KINDS = ("cell", "job", "interrupt", "operate", "manifest", "chunk")

kinds = st.sampled_from(KINDS)
names = st.text(max_size=12)
bodies = st.binary(max_size=60)
places = st.tuples(kinds, names, names)


@given(places, bodies)
def test_what_was_signed_is_opened(place, body):
    assert SIGNER.open(*place, SIGNER.seal(*place, body)) == body
    assert unsealed(SIGNER.seal(*place, body)) == body
    SIGNER.check_text(*place, body, SIGNER.text(*place, body))


@given(places, places, bodies)
def test_nothing_passes_as_another_kind_or_in_another_place(signed, used, body):
    assume(signed != used)
    with pytest.raises(SignatureRefused):
        SIGNER.open(*used, SIGNER.seal(*signed, body))
    with pytest.raises(SignatureRefused):
        SIGNER.check_text(*used, body, SIGNER.text(*signed, body))


@given(places, bodies, st.data())
def test_a_flipped_bit_is_refused(place, body, data):
    sealed = bytearray(SIGNER.seal(*place, body))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SignatureRefused):
        SIGNER.open(*place, bytes(sealed))


@given(places, bodies, st.integers(1, 80))
def test_a_cut_seal_is_refused(place, body, removed):
    sealed = SIGNER.seal(*place, body)
    with pytest.raises(SignatureRefused):
        SIGNER.open(*place, sealed[: max(0, len(sealed) - removed)])


@given(places, st.binary(max_size=3 * SEAL_BYTES), st.text(max_size=80))
def test_arbitrary_bytes_are_refused_and_raise_nothing_else(place, stored, text):
    with pytest.raises(SignatureRefused):
        SIGNER.open(*place, stored)
    with pytest.raises(SignatureRefused):
        SIGNER.check_text(*place, b"", text)


@given(places, bodies)
def test_every_key_is_accepted_and_no_other(place, body):
    older, other = Signer(KEYS[1:], "{skep}"), Signer(["another-key-0123456789abcdef0123456"], "{skep}")

    assert SIGNER.open(*place, older.seal(*place, body)) == body
    with pytest.raises(SignatureRefused):
        older.open(*place, SIGNER.seal(*place, body))
    with pytest.raises(SignatureRefused):
        SIGNER.open(*place, other.seal(*place, body))
    with pytest.raises(SignatureRefused):
        SIGNER.open(*place, Signer(KEYS, "{other}").seal(*place, body))


@given(st.dictionaries(names, st.one_of(names, bodies, st.integers()), max_size=5))
def test_the_fields_of_a_request_are_the_same_before_and_after_redis(fields):
    stored = {
        name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()
    }

    assert signed_fields(fields) == signed_fields(stored)
