"""Texts that anyone can send to a gateway: each is read or refused, and nothing else is raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.gateway.host_names import HostNames
from skep.gateway.tokens.identity_provider import access_of, claim
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.tokens.logins import Logins
from skep.gateway.tokens.provider_keys import read_keys
from skep.gateway.tokens.request_origin import why_foreign
from skep.gateway.tokens.signed_links import signature_of
from skep.gateway.tokens.token_text import TokenText
from skep.gateway.webhooks.definition import WebhookSpec, check_url
from skep.gateway.webhooks.retries import Failure
from skep_shared.errors import InvalidArgument

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
LATIN = st.text(st.characters(max_codepoint=255))
HEADERS = st.dictionaries(
    st.sampled_from(["origin", "host", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "x-skep-csrf"]),
    LATIN | st.sampled_from(["null", "same-origin", "cross-site", "http://127.0.0.1:1", "127.0.0.1:1", "none"]),
)


@given(st.text() | st.from_regex(r"skep_[a-z0-9]{12}_[A-Za-z0-9]{43}", fullmatch=True))
def test_a_text_is_a_token_or_none(text):
    token = TokenText.parse(text)

    assert token is None or token.text == text


@given(st.sampled_from(["GET", "POST", "ODD"]), st.sampled_from(["http", "https", "ws", "wss", "odd"]), HEADERS)
def test_only_the_own_origin_may_change_something(method, scheme, headers):
    refused = why_foreign(method, scheme, headers, "right")

    if refused == "" and method != "GET":
        assert headers.get("x-skep-csrf") == "right" or scheme in {"ws", "wss"}
        assert "origin" in headers or headers["sec-fetch-site"] == "same-origin"
    if "origin" in headers and refused == "":
        assert (
            headers["origin"].rpartition("/")[2].partition(":")[0].lower() == headers["host"].partition(":")[0].lower()
        )


@given(LATIN)
def test_a_host_is_judged(host):
    assert HostNames("127.0.0.1").accept(host) in {True, False}


@given(st.text(), st.text())
def test_no_guess_is_a_login(link, cookie):
    logins = Logins()
    logins.new_link_token()

    assert logins.exchange(link) is None
    assert logins.find(cookie) is None


@given(st.lists(st.text(), min_size=4, max_size=4), st.lists(st.text(), min_size=4, max_size=4), st.integers(0, 10**12))
def test_different_links_have_different_signatures(first, second, expires):
    one, other = (signature_of(b"k" * 64, *parts, expires) for parts in (first, second))

    assert (one == other) == (first == second)


@given(ANYTHING)
def test_a_key_set_is_read_or_refused(document):
    for body in (json.dumps(document), json.dumps({"keys": document}), json.dumps({"keys": [document]})):
        try:
            assert isinstance(read_keys(body.encode()), dict)
        except ValueError:
            continue


@given(st.binary())
def test_bytes_that_are_no_key_set_are_refused(body):
    try:
        read_keys(body)
    except ValueError:
        return
    assert isinstance(json.loads(body), dict)


@given(ANYTHING, ANYTHING, st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_claims_of_any_type_are_mapped_or_refused(tenant, rights, expires):
    settings = IdentitySettings.load()
    access = access_of({"iss": "i", "sub": "s", "exp": expires, "tenant": tenant, "scope": rights}, settings)

    assert access is None or access.tenant == tenant
    claim({"a": tenant}, "a.b.c")


@given(ANYTHING)
def test_a_definition_is_accepted_or_refused_with_a_field(document):
    bodies = [document] if isinstance(document, dict) else []
    right = {"url": "https://example.org/", "events": ["*"]}
    bodies += [right | {name: document} for name in ("url", "events", "labels", "prefix", "secret", "more")]
    for body in bodies:
        try:
            WebhookSpec.checked(body)
        except InvalidArgument as exc:
            assert str(exc).startswith(exc.field)  # noqa: PT017 - most are refused


@given(st.text() | st.builds("https://{}/{}".format, st.text(), st.text()))
def test_a_url_is_accepted_or_refused(url):
    try:
        accepted = check_url(url)
    except InvalidArgument as exc:
        assert exc.field == "url"  # noqa: PT017 - most are refused
        return
    assert accepted.isascii()
    assert accepted.isprintable()


@given(st.binary() | st.builds(lambda each: json.dumps(each).encode(), ANYTHING))
def test_a_stored_failure_is_read_or_refused(packed):
    try:
        Failure.unpack(packed)
    except ValueError:
        return
    pytest.fail("no such document is a failure")
