"""One cluster, and each way to call it; every test here runs with each of them, except those that `left_out` names."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import skep
import skep.sync

from ..gateway.gateway_process import GatewayProcess
from .clients import AsyncClient, BlockingClient, Client
from .http_client import HttpClient
from .left_out import HTTP

WAYS = ("asynchronous", "blocking", "http")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the scenarios that HTTP leaves out from its column; pytest reports how many it has deselected."""
    removed = [item for item in items if item.path.parent == HERE and _is_left_out(item)]
    if removed:
        config.hook.pytest_deselected(items=removed)
        items[:] = [item for item in items if item not in removed]


def _is_left_out(item: pytest.Item) -> bool:
    way, scenario = scenario_of(item.name)
    return way == "http" and scenario in HTTP


def scenario_of(name: str) -> tuple[str, str]:
    """Return the way and the scenario of a test's name: `test_x[http-case]` is `test_x[case]` over HTTP."""
    test, _, arguments = name.partition("[")
    way, dash, case = arguments.removesuffix("]").partition("-")
    return way, f"{test}[{case}]" if dash else test


@pytest.fixture
def asynchronous(cluster: skep.EmbeddedCluster) -> Client:
    """`import skep`."""
    return AsyncClient(cluster)


@pytest.fixture
async def blocking(cluster: skep.EmbeddedCluster) -> AsyncIterator[Client]:
    """`import skep.sync`."""
    opening = skep.sync.connect(settings=cluster.settings)
    try:
        yield BlockingClient(await asyncio.to_thread(opening.open))
    finally:
        await asyncio.to_thread(opening.close)


@pytest.fixture(scope="module")
async def gateway(cluster: skep.EmbeddedCluster) -> AsyncIterator[GatewayProcess]:
    """A gateway in a process of its own, on the module's cluster."""
    process = GatewayProcess("--redis", cluster.redis_url)
    try:
        yield await process.start()
    finally:
        await process.kill()


@pytest.fixture
async def http(gateway: GatewayProcess) -> AsyncIterator[Client]:
    """HTTP, by httpx, to the module's gateway."""
    async with gateway.client() as client:
        yield HttpClient(client)


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest) -> Client:
    """A client of each kind, on the module's cluster."""
    made: Client = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def s() -> str:
    """The id of a session that only this test uses."""
    return f"s-{secrets.token_hex(6)}"
