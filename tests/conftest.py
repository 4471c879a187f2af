"""A real Redis for every test that asks for one, and fixtures to talk to it.

The server starts once a test session: the one that `SKEP_TEST_REDIS_SERVER` names, or the one `skep` itself would start.
Without a server the tests fail; they are never skipped. Each test has its own key prefix, so no test sees another's keys.
"""

import asyncio
import gc
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import none
from redis.asyncio import Redis

from skep.local.redis_server import RedisServer
from skep.local.worker_process import WorkerProcess
from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.broker.scripts import Scripts
from skep_shared.settings import WorkerSettings

from .sandbox_tier import expect_differences

SERVER_VARIABLE = "SKEP_TEST_REDIS_SERVER"
WORKER_VARIABLE = "SKEP_TEST_WORKER_PYTHON"  # another environment, for clients in one that has no packages for workers


# No deadlines: a busy machine makes an example slow, which says nothing about the code. The same examples each time in CI.
hypothesis_settings.register_profile(
    "skep", deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.register_profile("ci", parent=hypothesis_settings.get_profile("skep"), derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "skep")


def pytest_configure() -> None:
    """Choose the server, and remove the developer's own SKEP_* settings from the environment."""
    for name in WorkerSettings.model_fields:
        os.environ.pop(f"SKEP_{name.upper()}", None)
    WorkerProcess.python = os.environ.get(WORKER_VARIABLE, WorkerProcess.python)
    chosen = os.environ.get(SERVER_VARIABLE)
    if chosen:
        binary = Path(chosen).absolute()  # not resolved: a distribution's redis-server may be a link to another name
        if binary.name != "redis-server" or not os.access(binary, os.X_OK):
            raise pytest.UsageError(f"{SERVER_VARIABLE}={chosen} is no executable named redis-server")
        os.environ["PATH"] = f"{binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Expect a test to fail that differs in the tier of the sandbox."""
    expect_differences(item)


@given(none())
@hypothesis_settings(derandomize=True, database=None, max_examples=1)
def run_one_example(_nothing: None) -> None:
    """Make hypothesis register its random numbers: it looks for references to them, of which it can't see frozen ones."""


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection: 300,000 objects, which live as long as the process.

    Each full collection looked through all of them, which took a tenth of the simulation's processor time.
    """
    run_one_example()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutine tests run on asyncio, each in an event loop of its own."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that most tests share; a test that changes its configuration uses `own_redis_server`."""
    server = RedisServer()
    asyncio.run(server.__aenter__())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def own_redis_server() -> AsyncIterator[RedisServer]:
    """A server for this test alone."""
    async with RedisServer() as server:
        yield server


def _settings_for(server: RedisServer) -> WorkerSettings:
    return WorkerSettings.load(redis_url=server.url, prefix=f"t-{secrets.token_hex(6)}")


@pytest.fixture
def settings(redis_server: RedisServer) -> WorkerSettings:
    """Settings of a shard that only this test uses."""
    return _settings_for(redis_server)


@pytest.fixture
def own_settings(own_redis_server: RedisServer) -> WorkerSettings:
    """Settings of a shard on this test's own server."""
    return _settings_for(own_redis_server)


@pytest.fixture
async def redis(settings: WorkerSettings) -> AsyncIterator[Redis]:
    """A client of the shared server."""
    client = open_redis(settings)
    yield client
    await client.aclose()


@pytest.fixture
async def own_redis(own_settings: WorkerSettings) -> AsyncIterator[Redis]:
    """A client of this test's own server."""
    client = open_redis(own_settings)
    yield client
    await client.aclose()


@pytest.fixture
def keys(settings: WorkerSettings) -> Keys:
    """The keys of this test's shard."""
    return Keys(settings.prefix)


@pytest.fixture
def scripts(redis: Redis, keys: Keys) -> Scripts:
    """The scripts on this test's shard."""
    return Scripts(redis, keys)
