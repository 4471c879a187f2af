"""Which requests with the cookie of a login are refused, because another page has made them."""

import pytest

from skep.gateway.tokens.request_origin import why_foreign

HOST = "127.0.0.1:8765"
OWN = f"http://{HOST}"


def refused(method="POST", scheme="http", csrf="right", **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return why_foreign(method, scheme, {"host": HOST, **given}, csrf)


def test_the_gateways_own_page_may_change_something():
    assert refused(origin=OWN, x_skep_csrf="right", sec_fetch_site="same-origin") == ""
    assert refused(origin=OWN, x_skep_csrf="right") == ""
    assert refused(x_skep_csrf="right", sec_fetch_site="same-origin") == ""


@pytest.mark.parametrize("csrf", [None, "", "wrong", "right ", "Right", "réght"])
def test_it_has_to_show_the_csrf_text(csrf):
    headers = {} if csrf is None else {"x_skep_csrf": csrf}

    assert "x-skep-csrf" in refused(origin=OWN, **headers)


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:9999", "http://127.0.0.1", "https://127.0.0.1:8765", "http://localhost:8765", "null", "",
        "http://evil.example", "http://127.0.0.1:8765.evil.example", "http://x@127.0.0.1:8765", "//127.0.0.1:8765",
        "http://127.0.0.1:8765@evil.example", "http://[::1", "http://127.0.0.1:999999",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "ODD"])
def test_another_origin_is_refused(method, origin):
    assert "Origin" in refused(method, origin=origin, x_skep_csrf="right")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_without_origin_is_refused(method):
    assert refused(method, x_skep_csrf="right") == "it has no Origin"
    assert refused(method, x_skep_csrf="right", sec_fetch_site="none")


def test_reading_needs_no_csrf_text():
    assert refused("GET") == ""
    assert refused("GET", origin=OWN) == ""
    assert refused("HEAD", sec_fetch_site="same-origin") == ""
    assert refused("GET", sec_fetch_site="none", sec_fetch_mode="navigate") == ""


@pytest.mark.parametrize("site", ["same-site", "cross-site", "odd"])
def test_another_page_may_link_here_but_not_read(site):
    assert refused("GET", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document") == ""
    assert refused("GET", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="iframe")
    assert refused("GET", sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="script")
    assert refused("POST", sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")


def test_a_websocket_needs_the_origin_alone():
    assert refused("GET", "ws", origin=OWN) == ""
    assert refused("GET", "ws")
    assert refused("GET", "ws", origin="http://127.0.0.1:9999")
