"""A real Redis for every test that asks for one, and what is needed to talk to it.

The server is started once a session: the one `SKEP_TEST_REDIS_SERVER` names, else what `skep` itself would start.
Without any the tests fail; they are never skipped. Each test has a key prefix of its own, so none sees another's keys.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from skep.redis_server import RedisServer
from skep_shared.connection import open_redis
from skep_shared.keys import Keys
from skep_shared.scripts import Scripts
from skep_shared.settings import WorkerSettings

SERVER_VARIABLE = "SKEP_TEST_REDIS_SERVER"


def pytest_configure() -> None:
    """Choose the server, and keep what the developer has set for a real shard out of the tests."""
    for name in WorkerSettings.model_fields:
        os.environ.pop(f"SKEP_{name.upper()}", None)
    chosen = os.environ.get(SERVER_VARIABLE)
    if chosen:
        binary = Path(chosen).absolute()  # not resolved: a distribution's redis-server may be a link to another name
        if binary.name != "redis-server" or not os.access(binary, os.X_OK):
            raise pytest.UsageError(f"{SERVER_VARIABLE}={chosen} is no executable named redis-server")
        os.environ["PATH"] = f"{binary.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutine tests run on asyncio, each in an event loop of its own."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server most tests share; a test that changes its configuration takes `own_redis_server`."""
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
