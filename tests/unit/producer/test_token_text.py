"""The text of tokens, and what a command line says about their lifetime and rights."""

import pytest

from skep.cli.access.token_listing import parse_lifetime
from skep.gateway.tokens.access import Access, Action
from skep.gateway.tokens.store import check_rights
from skep.gateway.tokens.token_text import TokenText, is_token_id
from skep_shared.errors import InvalidArgument


def test_a_token_is_read_again_and_does_not_show_its_secret():
    token = TokenText.make()

    assert TokenText.parse(token.text) == token
    assert token.text == f"skep_{token.id}_{token.secret}"
    assert is_token_id(token.id)
    assert token.secret not in repr(token)
    assert token.secret not in token.digest
    assert TokenText.make() != token


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:0], lambda text: text[:-1], lambda text: text + "x", lambda text: text + "\n",
        lambda text: text.replace("skep", "Skep"), lambda text: text.replace("skep_", "skep-"),
        lambda text: text[:5] + text[5:17].upper() + text[17:] if text[5:17] != text[5:17].upper() else "",
        lambda text: " " + text, lambda text: text[:-1] + "é", lambda text: text[:-1] + "\0",
    ],
)  # fmt: skip
def test_another_text_is_no_token(change):
    assert TokenText.parse(change(TokenText.make().text)) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("4w", 2_419_200), ("never", None)],
)
def test_a_lifetime_has_a_unit(text, seconds):
    assert parse_lifetime(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-5d", "0d", "1.5h", "5 d", "5y", "٣d", "1e3s", "99999999999d"])
def test_another_lifetime_is_refused(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_lifetime(text)
    assert caught.value.field == "expires"


@pytest.mark.parametrize("names", [[], ["root"], ["run", ""], ["READ"], ["run,read"]])
def test_an_unknown_right_is_refused(names):
    with pytest.raises(InvalidArgument, match="run, read, admin") as caught:
        check_rights(names)
    assert caught.value.field == "can"


def test_no_right_includes_another():
    access = Access("t", None, check_rights(["admin"]))

    assert [access.may(action) for action in Action] == [False, False, True]
