"""The servers that these tests run on: each version that is installed, and a proxy in front of one."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import skep
from skep.local.embedded import WorkerProcess
from skep_shared.settings import Settings

from .answering_proxy import AnsweringProxy
from .tcp_servers import TcpServer, found_servers

SERVERS = found_servers()
SOON = ("--command-timeout-seconds", "1", "--block-seconds", "1", "--lease-seconds", "1")


@pytest.fixture(scope="module", params=list(SERVERS.values()), ids=list(SERVERS))
def binary(request: pytest.FixtureRequest) -> str:
    """The redis-server of one version."""
    path: str = request.param
    return path


@pytest.fixture
async def start_server(binary: str, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[TcpServer]]]:
    """Yield a function that starts a server with these flags; it is killed at the end."""
    servers: list[TcpServer] = []

    async def start(*flags: str, port: int | None = None) -> TcpServer:
        servers.append(TcpServer(binary, tmp_path / f"server-{len(servers)}", *flags, port=port))
        return await servers[-1].start()

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def work_at() -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """Yield a function that starts a worker at a URL, with short timeouts; it is killed at the end."""
    workers: list[WorkerProcess] = []

    async def start(url: str, *flags: str, log_path: Path | None = None) -> WorkerProcess:
        workers.append(WorkerProcess(url, flags=(*SOON, *flags), log_path=log_path))
        return await workers[-1].start()

    yield start
    for worker in workers:
        await worker.kill()


@pytest.fixture
async def connect_to() -> AsyncIterator[Callable[..., Awaitable[skep.Cluster]]]:
    """Yield a function that connects to a URL, as a client with short timeouts; it is closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(url: str, **settings: object) -> skep.Cluster:
            soon = {"command_timeout_seconds": 1.0, "block_seconds": 1.0}
            return await stack.enter_async_context(
                skep.connect(settings=Settings.load(redis_url=url, **soon | settings))
            )

        yield connect


@dataclass(frozen=True, slots=True)
class Site:
    """A server, a proxy in front of it, and a worker that uses the proxy, for all tests of a module."""

    server: TcpServer
    proxy: AnsweringProxy


@pytest.fixture(scope="module")
async def site(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Start all of it; each test starts with the proxy healed."""
    server = await TcpServer(binary, tmp_path_factory.mktemp("server")).start()
    proxy = await AnsweringProxy(server.port).start()
    worker = await WorkerProcess(proxy.url, flags=SOON).start()
    yield Site(server, proxy)
    await worker.kill()
    await proxy.close()
    await server.close()


@pytest.fixture
def proxy(site: Site) -> AnsweringProxy:
    """The proxy in front of the module's server."""
    site.proxy.heal()
    site.proxy.answered.clear()
    return site.proxy


@pytest.fixture
async def client(proxy: AnsweringProxy, connect_to: Callable[..., Awaitable[skep.Cluster]]) -> skep.Cluster:
    """A client of the module's server, through the proxy."""
    return await connect_to(proxy.url)


@pytest.fixture
def session(client: skep.Cluster) -> skep.Session:
    """A session that only this test uses."""
    return client.session(f"s-{secrets.token_hex(6)}")
