"""The proxy, on real sockets: tunnels, plain requests, what is refused, and limits."""

import asyncio
from ipaddress import ip_network

import pytest

from skep_workers.proxy import outside, relay, server
from skep_workers.proxy.permissions import MAX_CONNECTIONS, MAX_LOOKUPS, digest_of
from skep_workers.proxy.request_head import MAX_HEAD_BYTES

from .conftest import KEY, TOKEN

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.215.14"
TUNNEL = "CONNECT example.org:443 HTTP/1.1"


async def echo(reader, writer):
    """Send everything back, and end when the client does."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def ends(reader):
    """Return whether a connection ends, in order or not, without another byte."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_a_tunnel_passes_bytes_and_ends_of_both_sides(proxy):
    await proxy.serve("example.org", PUBLIC, 443, echo)
    reader, writer, answer = await proxy.ask(TUNNEL)
    assert answer == "HTTP/1.1 200 Connection established\r\n\r\n"
    sent = bytes(range(256)) * 4096
    writer.write(sent)
    writer.write_eof()

    assert await reader.read(-1) == sent
    assert proxy.internet.looked_up == ["example.org"]
    assert proxy.internet.connected == [(PUBLIC, 443)]


async def test_a_plain_request_is_sent_on_and_its_answer_comes_back(proxy):
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head + body)
        writer.close()

    await proxy.serve("www.example.com", PUBLIC, 80, answer)
    reader, _, head = await proxy.ask(
        "POST http://WWW.example.com/path?q HTTP/1.1", "Host: other.example", "Content-Length: 5", body=b"12345"
    )

    assert head.startswith("HTTP/1.1 200 OK\r\n")
    received = (await reader.read(-1)).decode()
    assert received == (
        "POST /path?q HTTP/1.1\r\nHost: WWW.example.com\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345"
    )


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("example.net", 443), ("example.org", 8443), ("www.example.org", 443), ("example.com", 443),
        ("badexample.com", 443), ("example.org.evil.net", 443), ("localhost", 443), ("example.net", 80),
    ],
)  # fmt: skip
async def test_a_host_that_is_not_listed_is_refused_without_resolving_it(proxy, host, port):
    proxy.internet.names[host] = [PUBLIC]
    status = await proxy.status(f"CONNECT {host}:{port} HTTP/1.1")

    assert status.startswith(f"HTTP/1.1 403 {host}:{port} is refused: it is not in the session's allow-list")
    assert "SessionOptions.allowed_hosts" in status
    assert "SKEP_NETWORK_HOSTS" in status
    assert proxy.internet.looked_up == []
    assert [refusal[:3] for refusal in proxy.refused] == [(KEY, host, port)]


@pytest.mark.parametrize(
    "host", ["93.184.215.14", "[2606:4700::1]", "127.1", "0x7f000001", "2130706433", "a_b..c", "é.org"]
)
async def test_addresses_and_malformed_names_are_refused(proxy, host):
    status = await proxy.status(f"CONNECT {host}:443 HTTP/1.1")

    assert status.split(" ")[1] in {"400", "403"}
    assert (proxy.internet.looked_up, proxy.internet.connected) == ([], [])


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("10.0.0.1", "private"), ("169.254.169.254", "metadata"), ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"), ("64:ff9b::a9fe:a9fe", "metadata"), ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "unspecified"), ("168.63.129.16", "metadata"), ("224.0.0.1", "multicast"),  # noqa: S104
    ],
)  # fmt: skip
async def test_a_listed_name_that_leads_to_another_address_than_a_public_one_is_refused(proxy, address, kind):
    proxy.internet.names["example.org"] = [address]
    status = await proxy.status(TUNNEL)

    assert status.startswith("HTTP/1.1 403 example.org:443 is refused: it leads to ")
    assert kind in status
    assert proxy.internet.connected == []
    assert [refusal[:3] for refusal in proxy.refused] == [(KEY, "example.org", 443)]


async def test_of_several_addresses_only_public_ones_are_connected_to(proxy):
    proxy.internet.names["example.org"] = ["127.0.0.1", "10.0.0.1", "1.1.1.1"]
    await proxy.serve("example.org", PUBLIC, 443, echo)

    assert "200" in await proxy.status(TUNNEL)
    assert proxy.internet.connected == [("1.1.1.1", 443), (PUBLIC, 443)]


async def test_a_name_is_resolved_once_for_a_connection(proxy):
    """A second resolution could have another answer, and that one would not be checked."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    await proxy.serve("example.org", PUBLIC, 443, echo)
    proxy.outside._look_up = lambda *_: next(answers)

    assert "200" in await proxy.status(TUNNEL)
    assert proxy.internet.connected == [(PUBLIC, 443)]
    assert "403" in await proxy.status(TUNNEL)


async def test_a_public_address_of_this_machine_is_refused(proxy):
    await proxy.serve("example.org", PUBLIC, 443, echo)
    proxy.internet.source = "127.0.0.1"

    assert "it leads to this machine itself" in await proxy.status(TUNNEL)


async def test_an_operator_permits_private_networks(proxy):
    await proxy.serve("example.org", "10.1.2.3", 443, echo)
    assert "403" in await proxy.status(TUNNEL)
    proxy.outside.internal = (ip_network("10.1.0.0/16"),)

    assert "200" in await proxy.status(TUNNEL)


@pytest.mark.parametrize("credentials", [None, "", "other", TOKEN + " "])
async def test_without_credentials_no_host_is_reported(proxy, credentials):
    _, _, answer = await proxy.ask(TUNNEL, credentials=credentials)

    assert answer.startswith("HTTP/1.1 407 ")
    assert 'Proxy-Authenticate: Basic realm="skep"\r\n' in answer
    assert proxy.refused == []


@pytest.mark.parametrize(
    ("names", "status"),
    [({}, "502 example.org could not be resolved"), ({"example.org": [PUBLIC]}, "502 no connection")],
)
async def test_failures_outside_are_reported(proxy, names, status):
    proxy.internet.names |= names

    assert (await proxy.status(TUNNEL)).startswith(f"HTTP/1.1 {status}")


async def test_a_head_that_does_not_end_is_refused(proxy, monkeypatch):
    reader, writer = await proxy.open()
    writer.write(b"GET http://example.org/ HTTP/1.1\r\nA: " + b"a" * (3 * MAX_HEAD_BYTES))
    assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")

    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)
    reader, writer = await proxy.open()
    writer.write(b"GET ")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")


async def test_bytes_that_are_no_request_are_refused(proxy):
    for sent in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\nHost: a\r\n\r\n"):
        reader, writer = await proxy.open()
        writer.write(sent)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")


async def test_an_answer_arrives_although_the_client_still_sends(proxy):
    reader, writer = await proxy.open()
    writer.write(b"POST http://example.net/ HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
    writer.write_eof()

    assert (await reader.read(-1)).startswith(b"HTTP/1.1 407 ")


async def test_a_session_has_a_limited_number_of_connections(proxy):
    await proxy.serve("example.org", PUBLIC, 443, echo)
    opened = [await proxy.ask(TUNNEL) for _ in range(MAX_CONNECTIONS)]
    reader, writer = await proxy.open()
    assert (await reader.readline()).startswith(f"HTTP/1.1 503 a session has at most {MAX_CONNECTIONS}".encode())

    opened[0][1].write_eof()
    assert await opened[0][0].read(-1) == b""
    writer.close()
    while "200" not in await proxy.status(TUNNEL):  # noqa: ASYNC110 - the end of the others has no signal here
        await asyncio.sleep(0)


async def test_a_session_resolves_a_limited_number_of_names_at_a_time(proxy, monkeypatch):
    import threading

    may_end, began = threading.Event(), threading.Semaphore(0)

    def look_up(name, port):
        began.release()
        may_end.wait(30)
        return [PUBLIC]

    monkeypatch.setattr(proxy.outside, "_look_up", look_up)
    try:
        waiting = [asyncio.create_task(proxy.status(TUNNEL)) for _ in range(MAX_LOOKUPS)]
        for _ in range(MAX_LOOKUPS):
            await asyncio.to_thread(began.acquire)
        assert (await proxy.status(TUNNEL)).startswith(f"HTTP/1.1 503 {MAX_LOOKUPS} names of this session")
    finally:
        may_end.set()
    assert [status.split(" ")[1] for status in await asyncio.gather(*waiting)] == ["502"] * MAX_LOOKUPS


async def test_a_name_that_is_not_resolved_in_time_fails(proxy, monkeypatch):
    import threading

    may_end = threading.Event()
    monkeypatch.setattr(outside, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(proxy.outside, "_look_up", lambda *_: may_end.wait(30) and [PUBLIC])
    try:
        assert (await proxy.status(TUNNEL)).startswith("HTTP/1.1 504 example.org could not be resolved within")
    finally:
        may_end.set()


async def test_a_server_that_does_not_answer_the_connection_fails(proxy, monkeypatch):
    async def never(address, port):
        await asyncio.Event().wait()

    proxy.internet.names["example.org"] = [PUBLIC]
    monkeypatch.setattr(outside, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(proxy.outside, "_connect", never)

    assert (await proxy.status(TUNNEL)).startswith("HTTP/1.1 504 no answer from example.org:443")


async def test_connections_without_traffic_end(proxy, monkeypatch):
    monkeypatch.setattr(relay, "IDLE_SECONDS", 0.05)
    await proxy.serve("example.org", PUBLIC, 443, echo)
    reader, _, _ = await proxy.ask(TUNNEL)

    assert await ends(reader)


async def test_connections_end_with_their_session(proxy):
    ended = asyncio.Event()

    async def until_the_end(reader, writer):
        await reader.read(-1)
        ended.set()
        writer.close()

    await proxy.serve("example.org", PUBLIC, 443, until_the_end)
    reader, _, _ = await proxy.ask(TUNNEL)
    proxy.permissions.revoke(KEY)

    await ended.wait()
    assert await ends(reader)
    assert "407" in await proxy.status(TUNNEL)


async def test_a_receiver_that_does_not_read_stops_the_sender(proxy):
    """The proxy holds a bounded part of what is on its way."""
    may_read, written = asyncio.Event(), 0

    async def slow(reader, writer):
        await may_read.wait()
        while await reader.read(1 << 20):
            pass
        writer.close()

    await proxy.serve("example.org", PUBLIC, 443, slow)
    reader, writer, _ = await proxy.ask(TUNNEL)
    part = b"x" * (1 << 20)

    async def write():
        nonlocal written
        while written < 512:
            writer.write(part)
            await writer.drain()
            written += 1

    writing = asyncio.create_task(write())
    before = -1
    while before != written:  # until nothing moves any more
        before = written
        await asyncio.wait({writing}, timeout=0.5)
    assert not writing.done()
    writing.cancel()
    may_read.set()
    writer.write_eof()
    assert await reader.read(-1) == b""


async def test_one_sessions_refusals_do_not_concern_another_one(proxy):
    proxy.permissions.permit(8, digest_of("other"), ["example.net"])
    await proxy.status("CONNECT a.example.net:443 HTTP/1.1", credentials="other")
    await proxy.status("CONNECT a.example.net:443 HTTP/1.1")
    await proxy.status("CONNECT a.example.net:443 HTTP/1.1")

    assert [refusal[0] for refusal in proxy.refused] == [8, KEY]
