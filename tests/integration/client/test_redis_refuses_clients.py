"""A server that is there and refuses a client, by password, database or rights, is not said to be down."""

import asyncio
import os
import sys

import pytest
from redis.asyncio import Redis

import skep
from skep.local.worker_process import WorkerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def guarded(own_redis_server):
    """The socket of a server that wants a password; `weak` is a user who may do next to nothing."""
    async with Redis(unix_socket_path=own_redis_server.socket_path) as redis:
        await redis.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "~*", "+ping", "+select", "+client")
        await redis.config_set("requirepass", "right")
        yield own_redis_server.socket_path
        await redis.config_set("requirepass", "")


REFUSALS = {
    "no password": ("unix://{path}", "Check the user name and the password"),
    "wrong password": ("unix://:WR0NG@{path}", "Check the user name and the password"),
    "unknown user": ("unix://nobody:WR0NG@{path}", "Check the user name and the password"),
    "no such database": ("unix://:right@{path}?db=9999", "Check the database's number"),
    "no rights": ("unix://weak:secret@{path}", "The user needs the keys"),
}


async def run(*arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    python = WorkerProcess.python if "skep_workers" in arguments else sys.executable
    process = await asyncio.create_subprocess_exec(
        python, "-P", *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.parametrize("how", REFUSALS)
async def test_the_messages_of_the_command_line_and_of_a_worker_have_the_remedy(guarded, how):
    url, remedy = REFUSALS[how]
    url = url.format(path=guarded)
    (status, told), (worker_status, worker_told) = await asyncio.gather(
        run("-m", "skep.cli", "sessions", "--redis", url), run("-m", "skep_workers", "--redis", url)
    )

    assert (status, worker_status) == (3, 1)
    assert told.count("\n") == 1
    for text in (told, worker_told):
        assert remedy in text
        assert "refuses this client" in text
        assert "server is up" not in text
        assert "unavailable" not in text
        assert "WR0NG" not in text


@pytest.mark.parametrize("how", REFUSALS)
async def test_a_client_gets_the_same_error(guarded, how):
    url, remedy = REFUSALS[how]
    with pytest.raises(skep.RedisRefused, match=remedy):
        async with skep.connect(url.format(path=guarded)):
            pass


async def test_a_database_that_is_none_is_refused_by_the_flag_that_named_it():
    status, told = await run("-m", "skep.cli", "sessions", "--redis", "redis://127.0.0.1:1/x?db=y")
    assert (status, told.count("\n")) == (2, 1)
    assert told.startswith("skep: redis_url: ")
    assert told.endswith("(given by --redis)\n")
