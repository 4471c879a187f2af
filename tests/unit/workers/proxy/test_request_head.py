"""Heads of requests: what they ask for, what is sent on, and what is refused."""

import base64

import pytest

from skep_workers.proxy.request_head import MAX_HEADERS, BadRequest, parse_head

CREDENTIALS = b"Proxy-Authorization: Basic " + base64.b64encode(b"skep:secret")


def head(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (*lines, b""))


def refused(*lines: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_head(head(*lines))
    return caught.value


def test_a_tunnel():
    found = parse_head(head(b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:443", CREDENTIALS))

    assert (found.host, found.port, found.password, found.is_tunnel) == ("example.org", 443, "secret", True)


@pytest.mark.parametrize(
    ("target", "host", "port", "onward"),
    [
        (b"http://example.org/a?b=c", "example.org", 80, b"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\n"),
        (b"HTTP://example.org:8080", "example.org", 8080, b"GET / HTTP/1.1\r\nHost: example.org:8080\r\n"),
        (b"http://example.org?x=/y", "example.org", 80, b"GET /?x=/y HTTP/1.1\r\nHost: example.org\r\n"),
        (b"http://example.org//", "example.org", 80, b"GET // HTTP/1.1\r\nHost: example.org\r\n"),
    ],
)
def test_a_plain_request(target, host, port, onward):
    found = parse_head(head(b"GET " + target + b" HTTP/1.1", CREDENTIALS))

    assert (found.host, found.port, found.is_tunnel) == (host, port, False)
    assert found.onward == onward + b"Connection: close\r\n\r\n"


def test_what_concerns_this_connection_is_not_sent_on():
    found = parse_head(
        head(
            b"POST http://example.org/ HTTP/1.1",
            b"Host: other.example",
            b"Connection: keep-alive, X-Own, Content-Length",
            b"Proxy-Connection: keep-alive",
            b"Keep-Alive: timeout=5",
            b"TE: trailers",
            b"Upgrade: h2c",
            b"X-Own: 1",
            b"X-Kept:  two words \t",
            b"Content-Length: 2",
            CREDENTIALS,
        )
    )

    assert found.onward == (
        b"POST / HTTP/1.1\r\nHost: example.org\r\nX-Kept: two words\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"", b"GET", b"GET http://a.org/", b"GET http://a.org/ HTTP/2", b"GET  http://a.org/ HTTP/1.1",
        b"GET http://a.org/ x HTTP/1.1", b"GET\thttp://a.org/ HTTP/1.1", b" GET http://a.org/ HTTP/1.1",
        b"GET http://a.org/\x00 HTTP/1.1", b"GET http://a.org/\xff HTTP/1.1", b"GE(T http://a.org/ HTTP/1.1",
        b"GET / HTTP/1.1", b"GET https://a.org/ HTTP/1.1", b"GET ftp://a.org/ HTTP/1.1", b"GET * HTTP/1.1",
        b"GET http:// HTTP/1.1", b"GET http:///x HTTP/1.1", b"GET http://u:p@a.org/ HTTP/1.1",
        b"GET http://a.org:0/ HTTP/1.1", b"GET http://a.org:99999/ HTTP/1.1", b"GET http://a.org:x/ HTTP/1.1",
        b"GET http://a.org:80:80/ HTTP/1.1", b"GET http://a.org/#x HTTP/1.1", b"GET http://a.org#x HTTP/1.1",
        b"CONNECT a.org HTTP/1.1", b"CONNECT a.org: HTTP/1.1", b"CONNECT :443 HTTP/1.1", b"CONNECT a.org:443/ HTTP/1.1",
        b"CONNECT http://a.org:443 HTTP/1.1", b"CONNECT a.org:443:1 HTTP/1.1", b"CONNECT ::1:443 HTTP/1.1",
        b"CONNECT a.org:+443 HTTP/1.1", "CONNECT a.org:４４３ HTTP/1.1".encode(),  # noqa: RUF001
    ],
)  # fmt: skip
def test_a_malformed_target_is_refused(line):
    assert refused(line).status == 400


@pytest.mark.parametrize(
    "field",
    [
        b"no colon", b": empty", b"A : b", b" A: b", b"A: b\n c: d", b"A: b\r", b"A: \x00", b"A: \x7f", b"\tA: folded",
        b"A\xff: b", b"A: b\nB: c",
    ],
)  # fmt: skip
def test_a_malformed_field_is_refused(field):
    assert refused(b"GET http://a.org/ HTTP/1.1", field).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 1", b"Content-Length: 1"],
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Content-Length: +1"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length:"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"],
    ],
)
def test_a_body_whose_end_is_not_certain_is_refused(fields):
    assert refused(b"POST http://a.org/ HTTP/1.1", *fields).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        [CREDENTIALS, CREDENTIALS],
        [b"Proxy-Authorization: Bearer x"],
        [b"Proxy-Authorization: Basic !"],
        [b"Proxy-Authorization: Basic /w=="],
    ],
)
def test_malformed_credentials_are_refused(fields):
    assert refused(b"CONNECT a.org:443 HTTP/1.1", *fields).status == 400


@pytest.mark.parametrize("field", [b"Proxy-Authorization: Basic", b"Proxy-Authorization: Basic c2tlcA==", b"A: b"])
def test_credentials_without_a_password_are_none(field):
    assert parse_head(head(b"CONNECT a.org:443 HTTP/1.1", field)).password == ""


def test_there_is_an_end_to_fields():
    assert parse_head(head(b"CONNECT a.org:443 HTTP/1.1", *[b"A: b"] * MAX_HEADERS))
    assert refused(b"CONNECT a.org:443 HTTP/1.1", *[b"A: b"] * (MAX_HEADERS + 1)).status == 431
