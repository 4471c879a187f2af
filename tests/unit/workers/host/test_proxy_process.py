"""The worker's end of the proxy: its process starts, ends, hangs, and is replaced, with everything it has to know."""

import asyncio
import base64
import os
import signal
import sys
from pathlib import Path

import pytest

from skep_shared.errors import StartError
from skep_workers.host.network import proxy_process
from skep_workers.host.network.proxy_process import HOST, ProxyProcess

pytestmark = pytest.mark.anyio

START_SECONDS = 30.0


@pytest.fixture
async def make():
    """Return a function that makes a proxy and the task that replaces its process."""
    made = []

    def proxy(**options):
        started = ProxyProcess(["common.example"], [], START_SECONDS, **options)
        made.append((started, asyncio.create_task(started.keep_running())))
        return started

    yield proxy
    for started, task in made:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await started.stop()


async def answer(proxy, token, target="localhost:1"):
    """Return the status line of an answer."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    credentials = base64.b64encode(f"skep:{token}".encode()).decode()
    writer.write(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line.decode()


async def replaced(proxy, pid):
    """Wait until another process than `pid` serves."""
    while proxy.pid in {0, pid}:  # noqa: ASYNC110 - nothing outside of the proxy is notified
        await asyncio.sleep(0.01)
    proxy._silence_seconds = 60.0
    await proxy.ensure_started()


async def test_a_session_is_permitted_until_it_ends(make):
    proxy, refused = make(), asyncio.Queue()
    await proxy.ensure_started()
    permission = proxy.permit(("example.org",), lambda *refusal: refused.put_nowait(refusal))

    assert "403 localhost:1 is refused" in await answer(proxy, permission.token)
    assert "407" in await answer(proxy, "other")
    assert (await refused.get())[:2] == ("localhost", 1)
    proxy.revoke(permission)
    assert "407" in await answer(proxy, permission.token)


async def test_a_process_that_ends_is_replaced_on_the_same_port_and_knows_the_sessions(make):
    proxy = make()
    await proxy.ensure_started()
    permission = proxy.permit(("example.org",), lambda *_: None)
    port, pid = proxy.port, proxy.pid
    os.kill(pid, signal.SIGKILL)
    line = await answer(proxy, permission.token)  # waits in the listening socket until a proxy serves it

    assert "403 localhost:1 is refused" in line
    assert (proxy.port, proxy.pid != pid) == (port, True)


async def test_a_process_that_does_not_answer_is_killed_and_replaced(make):
    proxy = make(ping_seconds=0.01, silence_seconds=60.0)
    await proxy.ensure_started()
    permission, pid = proxy.permit((), lambda *_: None), proxy.pid
    os.kill(pid, signal.SIGSTOP)
    proxy._silence_seconds = 0.05
    await replaced(proxy, pid)

    assert "403" in await answer(proxy, permission.token)


async def test_the_first_process_knows_the_sessions_that_were_permitted_before(make):
    proxy = make()
    permission = proxy.permit((), lambda *_: None)
    await proxy.ensure_started()

    assert "403" in await answer(proxy, permission.token)


async def test_a_process_that_does_not_start_is_reported():
    ends = ProxyProcess([], [], START_SECONDS, command=(sys.executable, "-c", "pass"))
    with pytest.raises(StartError, match="it ended"):
        await ends.ensure_started()
    await ends.stop()

    missing = ProxyProcess([], [], START_SECONDS, command=("/no/such/program",))
    with pytest.raises(StartError, match="No such file"):
        await missing.ensure_started()
    await missing.stop()

    hangs = ProxyProcess([], [], 0.05, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(StartError, match=r"no answer after 0\.05 s"):
        await hangs.ensure_started()
    assert hangs.pid == 0
    await hangs.stop()


async def test_the_process_knows_no_secret_of_the_worker(make, monkeypatch):
    monkeypatch.setenv("SKEP_REDIS_URL", "redis://:hunter2@localhost")
    proxy = make()
    permission = proxy.permit((), lambda *_: None)
    await proxy.ensure_started()
    process = Path(f"/proc/{proxy.pid}")

    assert b"hunter2" not in (process / "environ").read_bytes()
    assert permission.token.encode() not in (process / "cmdline").read_bytes()
    opened = {str(each.readlink()) for each in (process / "fd").iterdir()}
    assert not [path for path in opened if "redis" in path]


async def test_the_process_ends_in_order_with_its_worker(make):
    proxy = make()
    await proxy.ensure_started()
    process = proxy._process
    await proxy.stop()

    assert process.returncode == 0
    assert (proxy.pid, proxy.port) == (0, 0)


async def test_a_process_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(proxy_process, "STOP_SECONDS", 0.05)
    proxy = ProxyProcess([], [], START_SECONDS)
    await proxy.ensure_started()
    process = proxy._process
    os.kill(process.pid, signal.SIGSTOP)
    await proxy.stop()

    assert process.returncode == -signal.SIGKILL
