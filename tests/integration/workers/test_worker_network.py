"""The network of a worker's sessions: none, an allow-list, the host's; what each reaches, and what is refused."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionOptions
from skep_workers.sandbox.kernel.landlock import ABI, abi_version

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_start,
    pytest.mark.skipif(abi_version() < ABI.TCP, reason="this kernel's Landlock has no rules for TCP"),
]

WORKER = ["-m", "skep_workers"]
FETCH = "import urllib.request\nurllib.request.urlopen('http://localhost:{port}/path', timeout=20).read().decode()"


class Echo(BaseHTTPRequestHandler):
    """A server that answers with what it was asked for."""

    def do_GET(self):
        body = f"{self.command} {self.path} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    """The port of a web server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def tier(request, report):
    """The tier of the worker: `basic`, unless the test is IN_EVERY_TIER."""
    wanted = getattr(request, "param", Tier.BASIC)
    if report.missing(wanted):
        pytest.skip(f"tier {wanted} does not work here: `skep doctor sandbox` says why")
    return wanted


IN_EVERY_TIER = pytest.mark.parametrize("tier", [Tier.BASIC, Tier.USERNS, Tier.STRICT], indirect=True)


@pytest.fixture
def start(shard, run_logged, tier):
    """Return a function that starts a worker in this tier, with these settings."""

    async def run(**environment):
        settings = shard.settings
        place = {"SKEP_REDIS_URL": settings.redis_url, "SKEP_PREFIX": settings.prefix, "SKEP_SANDBOX": tier}
        return await run_logged(*WORKER, **(place | environment))

    return run


LOCAL = {"SKEP_NETWORK": "host", "SKEP_NETWORK_INTERNAL": json.dumps(["127.0.0.0/8"])}


@IN_EVERY_TIER
async def test_a_session_fetches_a_page_of_an_allowed_host(shard, start, port):
    worker = await start(**LOCAL)
    await worker.says("network.chosen", default="none", possible=["none", "allow-list", "host"])
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))

    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"
    await worker.says("proxy.started")


REACHES = """
import errno, socket
def attempt(call):
    try:
        return call() or "done"
    except OSError as exc:
        return errno.errorcode[exc.errno]
def tcp(address, family=socket.AF_INET):
    made = socket.socket(family)
    made.settimeout(5)
    return attempt(lambda: made.connect(address))
def made(*arguments):
    return attempt(lambda: socket.socket(*arguments).close())
"""


@IN_EVERY_TIER
async def test_an_allow_list_leaves_no_other_way_out(shard, start, port):
    await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list"))
    await session.run(REACHES)
    code = f"""
import os, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["https_proxy"]).port
flags = socket.MSG_FASTOPEN
eager = socket.socket()
eager.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
listening = socket.socket()
{{
    "proxy": tcp(("127.0.0.1", proxy)),
    "server": tcp(("127.0.0.1", {port})),
    "elsewhere": tcp(("192.0.2.1", 80)),
    "fast open": attempt(lambda: socket.socket().sendto(b"x", flags, ("127.0.0.1", {port}))),
    "fast open by a message": attempt(lambda: socket.socket().sendmsg([b"x"], [], flags, ("127.0.0.1", {port}))),
    "eager": attempt(lambda: eager.connect(("127.0.0.1", {port}))),
    "udp": made(socket.AF_INET, socket.SOCK_DGRAM),
    "raw": made(socket.AF_INET, socket.SOCK_RAW, 1),
    "multipath": made(socket.AF_INET, socket.SOCK_STREAM, 262),
    "sctp": made(socket.AF_INET, socket.SOCK_STREAM, 132),
    "six": made(socket.AF_INET6),
    "netlink": made(socket.AF_NETLINK, socket.SOCK_RAW),
    "bind": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "other device": attempt(lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"")),
    "listen": attempt(listening.listen),
    "address": listening.getsockname()[0].startswith("127."),
    "device": socket.socket().getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\\0").decode(),
}}
"""
    found = (await session.run(code)).value

    assert found == {
        "proxy": "done", "server": "EACCES", "elsewhere": "EACCES", "fast open": "ENOTSUP",
        "fast open by a message": "ENOTSUP", "eager": "EACCES", "udp": "EACCES", "raw": "EACCES",
        "multipath": "EACCES", "sctp": "EACCES", "six": "EACCES", "netlink": "EACCES", "bind": "EACCES",
        "other device": "EPERM", "listen": "done", "address": True, "device": "lo",
    }  # fmt: skip


@IN_EVERY_TIER
async def test_none_is_the_default_and_means_no_network_socket(shard, start):
    await start(**LOCAL)
    session = shard.session("s")
    await session.run(REACHES)

    tried = await session.run("made(socket.AF_INET), made(socket.AF_INET6), made(socket.AF_UNIX)")
    assert tried.value == ("EACCES", "EACCES", "done")


@IN_EVERY_TIER
@pytest.mark.parametrize(
    ("network", "code"),
    [
        ("none", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')"),
        ("none", "import urllib.request; urllib.request.urlopen('http://example.org')"),
        ("none", "import asyncio; await asyncio.open_connection('127.0.0.1', 1)"),
        ("none", "import asyncio; await asyncio.start_server(print, '127.0.0.1', 0)"),
        ("none", "import asyncio; asyncio.run(asyncio.start_server(print, '127.0.0.1', 0))"),
        ("none", "import asyncio, uvloop; uvloop.run(asyncio.start_server(print, '127.0.0.1', 0))"),
        ("none", "import http.server; http.server.HTTPServer(('127.0.0.1', 0), None)"),
        ("allow-list", "import asyncio; await asyncio.start_server(print, '127.0.0.1', 0)"),
        ("allow-list", "import socket; socket.create_connection(('127.0.0.1', 1))"),
        ("allow-list", "import socket; socket.create_connection(('example.org', 80))"),
    ],
)
async def test_errors_of_code_that_needs_a_network_say_what_to_ask_for(shard, start, network, code):
    await start(SKEP_NETWORK="allow-list")
    session = shard.session("s", options=SessionOptions(network=network))
    outcome = await session.run(code)

    hint = outcome.error.traceback.splitlines()[-1]
    assert "allowed_hosts" in hint
    assert "network='host'" in hint
    other = await session.run("open('missing')")
    assert "allowed_hosts" not in other.error.traceback


@IN_EVERY_TIER
async def test_host_permits_connections_to_everything(shard, start, port):
    await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="host"))
    await session.run(REACHES)
    code = f"tcp(('127.0.0.1', {port})), made(socket.AF_INET6), made(socket.AF_INET, socket.SOCK_DGRAM)"
    assert (await session.run(code)).value == ("done", "done", "done")

    others = (
        "made(socket.AF_PACKET, socket.SOCK_RAW), made(socket.AF_VSOCK), made(socket.AF_NETLINK, socket.SOCK_RAW, 9)"
    )
    assert (await session.run(others)).value == ("EACCES", "EACCES", "EACCES")
    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"


BLOCKED = """
import urllib.error, urllib.request
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as exc:
        return f"{exc.code} {exc.read().decode()}"
    except OSError as exc:
        return str(exc)
"""


async def refusals(session):
    """Return the messages of a session's events about refused connections."""
    found = [event async for event in session.events() if event.kind == "warning"]
    return [event.message for event in found if event.category == "network.refused"]


async def test_another_host_is_refused_with_what_to_do_and_an_event(shard, start, port):
    await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=("example.org",)))
    await session.run(BLOCKED)
    plain = (await session.run(f"fetch('http://localhost:{port}/')")).value
    tunnel = (await session.run("fetch('https://127.0.0.1/')")).value
    await session.run(f"[fetch('http://localhost:{port}/again') for _ in range(50)]")

    assert plain.startswith(f"403 skep: localhost:{port} is refused: it is not in the session's allow-list")
    assert f"adds 'localhost:{port}' to SessionOptions.allowed_hosts, or the worker's operator to SKEP_NETWORK" in plain
    assert "403 127.0.0.1:443 is refused: only host names" in tunnel
    messages = await refusals(session)
    assert [message.partition(" was")[0] for message in messages] == [
        f"a connection to localhost:{port}",
        "a connection to 127.0.0.1:443",
    ]


async def test_a_name_that_leads_to_this_machine_is_refused(shard, start, port):
    await start(SKEP_NETWORK="allow-list")
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    await session.run(BLOCKED)
    answer = (await session.run(f"fetch('http://localhost:{port}/')")).value

    assert answer.startswith(f"403 skep: localhost:{port} is refused: it leads to a loopback address")
    assert len(await refusals(session)) == 1


async def test_operators_permit_hosts_to_all_sessions_and_choose_the_default(shard, start, port):
    await start(**LOCAL, SKEP_NETWORK_DEFAULT="allow-list", SKEP_NETWORK_HOSTS=json.dumps([f"localhost:{port}"]))
    session = shard.session("s")
    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"

    info = await session.info()
    assert (info.network, info.allowed_hosts) == ("allow-list", (f"localhost:{port}",))
    [worker] = [worker async for worker in shard.workers()]
    assert (worker.network, worker.networks) == ("allow-list", ["none", "allow-list", "host"])


async def test_programs_that_a_cell_starts_use_the_proxy_too(shard, start, port):
    await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    code = f"""
import subprocess, sys
script = "import urllib.request; print(urllib.request.urlopen('http://localhost:{port}/path', timeout=20).read())"
subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
"""
    assert f"GET /path localhost:{port}" in (await session.run(code)).value


async def test_the_proxy_is_started_again_and_sessions_continue(shard, start, port, process_end):
    worker = await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    await session.run(FETCH.format(port=port))
    started = await worker.says("proxy.started")
    os.kill(started["pid"], signal.SIGKILL)
    await process_end(started["pid"])

    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"
    lost = await worker.says("proxy.lost", reason="it ended")
    again = await worker.says("proxy.started", port=started["port"], starts=2)
    assert lost["exit_status"] == -signal.SIGKILL
    assert again["pid"] != started["pid"]


async def test_the_proxy_ends_with_its_worker(shard, start, port, process_end):
    worker = await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    await session.run(FETCH.format(port=port))
    started = await worker.says("proxy.started")
    worker.send_signal(signal.SIGKILL)
    await worker.exit_status()

    await process_end(started["pid"])


async def test_without_such_a_session_there_is_no_proxy(shard, start):
    worker = await start(**LOCAL)
    await shard.session("s").run("1")
    worker.send_signal(signal.SIGTERM)
    await worker.exit_status()

    assert not [line for line in worker.lines if "proxy.started" in line]


@IN_EVERY_TIER
async def test_a_restored_session_has_its_network_and_the_new_workers_proxy(shard, start, port):
    worker = await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    before = (await session.run("import os\nos.environ['OWN'] = '1'\nos.environ['https_proxy']")).value
    worker.send_signal(signal.SIGTERM)
    await worker.exit_status()
    await start(**LOCAL)

    own, now = (await session.run("os.environ['OWN'], os.environ['https_proxy']")).value
    assert own == "1"
    assert now != before
    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"


async def test_a_fork_has_its_origins_network_and_credentials_of_its_own(shard, start, port):
    await start(**LOCAL)
    origin = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    of_origin = (await origin.run("import os\nos.environ['https_proxy']")).value
    fork = await origin.fork("fork")

    assert (await fork.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"
    assert (await fork.run("os.environ['https_proxy']")).value != of_origin


@IN_EVERY_TIER
async def test_the_next_process_of_a_session_that_crashed_has_its_network(shard, start, port):
    await start(**LOCAL)
    session = shard.session("s", options=SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",)))
    await session.run("x = 1")
    await session.run("import os\nos._exit(1)")

    assert (await session.run(f"{FETCH.format(port=port)}, x")).value == (f"GET /path localhost:{port}", 1)


async def test_credentials_end_with_the_residency(shard, start, port):
    await start(**LOCAL)
    options = SessionOptions(network="allow-list", allowed_hosts=(f"localhost:{port}",))
    first, second = shard.session("first", options=options), shard.session("second", options=options)
    url = (await first.run("import os\nos.environ['https_proxy']")).value
    await first.hibernate()
    await second.run(BLOCKED)
    with_old = f"import os\nos.environ['http_proxy'] = os.environ['HTTP_PROXY'] = {url!r}\n"

    assert (await second.run(f"{with_old}fetch('http://localhost:{port}/')")).value.startswith("407 skep: ")


@pytest.mark.parametrize("network", ["none", "allow-list"])
async def test_without_a_sandbox_no_narrower_network_is_granted(shard, start, network):
    await start(SKEP_SANDBOX="none")
    session = shard.session("s", options=SessionOptions(network=network))
    outcome = await session.run("ran = 1")

    assert (outcome.status, outcome.error.ename) == ("failed", "NetworkUnavailable")
    assert "its worker has no sandbox" in outcome.error.evalue


async def test_more_than_the_worker_permits_is_not_granted(shard, start):
    await start(SKEP_NETWORK="allow-list")
    outcome = await shard.session("s", options=SessionOptions(network="host")).run("ran = 1")

    assert (outcome.status, outcome.error.ename) == ("failed", "NetworkUnavailable")
    assert "permits at most allow-list (SKEP_NETWORK)" in outcome.error.evalue


async def test_a_session_is_placed_on_a_worker_that_has_its_network(shard, start):
    first = await start(SKEP_SANDBOX="none")
    await first.says("worker.ready")
    second = await start()
    ready = await second.says("worker.ready")
    sessions = [shard.session(f"s{number}", options=SessionOptions(network="none")) for number in range(3)]
    for session in sessions:
        assert (await session.run("1")).value == 1

    assert {(await session.info()).owner for session in sessions} == {ready["worker_id"]}


async def test_without_a_sandbox_sessions_have_the_workers_network(shard, start, port):
    await start(SKEP_SANDBOX="none")
    session = shard.session("s")

    assert (await session.run(FETCH.format(port=port))).value == f"GET /path localhost:{port}"
    assert (await session.info()).network == "host"
    assert (await shard.session("t", options=SessionOptions(network="host")).run("1")).value == 1


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"SKEP_SANDBOX": "none", "SKEP_NETWORK": "allow-list"}, 1, "only a sandbox restricts the network"),
        ({"SKEP_SANDBOX": "none", "SKEP_NETWORK_DEFAULT": "none"}, 1, "only a sandbox restricts the network"),
        ({"SKEP_NETWORK": "none", "SKEP_NETWORK_DEFAULT": "host"}, 1, "permits at most none"),
        ({"SKEP_NETWORK": "lan"}, 2, "network: 'lan' is refused"),
        ({"SKEP_NETWORK_HOSTS": '["https://example.org"]'}, 2, "not a URL"),
        ({"SKEP_NETWORK_INTERNAL": '["8.8.8.0/24"]'}, 2, "must be within one of"),
    ],
)
async def test_settings_that_cannot_hold_end_the_start(start, settings, status, words):
    worker = await start(**settings)

    assert await worker.exit_status() == status
    assert words in "\n".join(worker.lines)
