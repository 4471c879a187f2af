"""Programs of sessions with an allow-list: common HTTP clients find the proxy by themselves, for HTTP and HTTPS."""

import importlib.util
import json
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from skep_shared.models import SessionOptions
from skep_workers.sandbox.kernel.landlock import ABI, abi_version

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_start,
    pytest.mark.skipif(abi_version() < ABI.TCP, reason="this kernel's Landlock has no rules for TCP"),
]

HOST = "localhost"
# Functions of a URL and a file of certificates that return the body, or the error as text.
CLIENTS = {
    "urllib": """
import ssl, urllib.request
def fetch(url, trusted):
    context = ssl.create_default_context(cafile=trusted)
    return urllib.request.urlopen(url, timeout=20, context=context).read().decode()
""",
    "curl": """
import subprocess
def fetch(url, trusted):
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", "--cacert", trusted, url]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise OSError(ran.stderr)
    return ran.stdout
""",
    "requests": """
import requests
def fetch(url, trusted):
    answer = requests.get(url, timeout=20, verify=trusted)
    answer.raise_for_status()
    return answer.text
""",
    "httpx": """
import httpx, ssl
def fetch(url, trusted):
    return httpx.get(url, timeout=20, verify=ssl.create_default_context(cafile=trusted)).raise_for_status().text
""",
    "aiohttp": """
import aiohttp, asyncio, ssl
async def fetch_it(url, trusted):
    context = ssl.create_default_context(cafile=trusted)
    async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(20)) as client:
        async with client.get(url, ssl=context) as answer:
            answer.raise_for_status()
            return await answer.text()
def fetch(url, trusted):
    return asyncio.run(fetch_it(url, trusted))
""",
}
PREPARE = """
open("trusted", "w").write(trusted)
def tried(url):
    try:
        return fetch(url, "trusted")
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
"""


def is_installed(client):
    return shutil.which(client) is not None if client == "curl" else importlib.util.find_spec(client) is not None


class Hello(BaseHTTPRequestHandler):
    """A server with one page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


@pytest.fixture
def certificate(tmp_path):
    """A certificate for HOST, with its key in the same file."""
    path = tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", tmp_path / "key", "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def servers(certificate):
    """The ports of a server for HTTP and of one for HTTPS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.parent / "key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as plain, ThreadingHTTPServer(("127.0.0.1", 0), Hello) as tls:
        tls.socket = context.wrap_socket(tls.socket, server_side=True)
        threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in (plain, tls)]
        for thread in threads:
            thread.start()
        yield plain.server_address[1], tls.server_address[1]
        for each, thread in zip((plain, tls), threads, strict=True):
            each.shutdown()
            thread.join()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_reaches_allowed_hosts_and_shows_why_others_are_refused(
    shard, run_logged, servers, certificate, client
):
    if not is_installed(client):
        pytest.skip(f"{client} is not installed")
    place = {"SKEP_REDIS_URL": shard.settings.redis_url, "SKEP_PREFIX": shard.settings.prefix}
    network = {"SKEP_NETWORK": "allow-list", "SKEP_NETWORK_INTERNAL": json.dumps(["127.0.0.0/8"])}
    await run_logged("-m", "skep_workers", **place, **network, SKEP_SANDBOX="basic")
    plain, tls = servers
    hosts = (f"{HOST}:{plain}", f"{HOST}:{tls}")
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=hosts))
    prepared = await session.run(CLIENTS[client] + PREPARE, inputs={"trusted": certificate.read_text()})
    prepared.raise_for_status()
    urls = [f"http://{HOST}:{plain}/", f"https://{HOST}:{tls}/", "http://example.net/", "https://example.net/"]
    allowed, secure, refused, refused_secure = (await session.run(f"[tried(url) for url in {urls}]")).value

    assert (allowed, secure) == ("hello", "hello")
    assert "403" in refused
    assert "403" in refused_secure
