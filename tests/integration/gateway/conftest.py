"""A real gateway, in a process of its own, on the module's cluster."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

import skep
from skep.gateway.tokens.store import TokenStore

from .gateway_process import GatewayProcess


@pytest.fixture(scope="module")
def gateway_settings() -> dict[str, object]:
    """Settings of the module's gateway that differ from the defaults; for modules to replace."""
    return {}


@pytest.fixture(scope="module")
async def token(cluster: skep.EmbeddedCluster) -> str:
    """A token that permits everything on the module's cluster."""
    return (await TokenStore(cluster._link).create(can=["run", "read", "admin"]))[1]


@pytest.fixture(scope="module")
async def gateway(
    cluster: skep.EmbeddedCluster, token: str, gateway_settings: dict[str, object]
) -> AsyncIterator[GatewayProcess]:
    """The gateway of a module, on the cluster of the module."""
    process = GatewayProcess("--redis", cluster.redis_url, token=token, **gateway_settings)
    await process.start()
    yield process
    await process.kill()


@pytest.fixture
async def http(gateway: GatewayProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the module's gateway."""
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def start_gateway() -> AsyncIterator[Callable[..., Awaitable[GatewayProcess]]]:
    """Return a function that starts a gateway for one test; all are killed at the end."""
    started: list[GatewayProcess] = []

    async def start(*flags: str, **settings: object) -> GatewayProcess:
        started.append(GatewayProcess(*flags, **settings))
        return await started[-1].start()

    yield start
    for process in started:
        await process.kill()


@pytest.fixture
def another_gateway(
    start_gateway: Callable[..., Awaitable[GatewayProcess]], cluster: skep.EmbeddedCluster, token: str
) -> Callable[..., Awaitable[GatewayProcess]]:
    """Return a function that starts a gateway with other settings on the module's cluster."""
    return lambda **settings: start_gateway("--redis", cluster.redis_url, token=token, **settings)


@pytest.fixture
def path(session: skep.Session) -> str:
    """The path of a session that only this test uses."""
    return f"/v1/sessions/{session.id}"
