"""A slow, narrow or interrupted connection to Redis: calls end by their deadlines, and no session is taken over."""

import asyncio
import time
from pathlib import Path

import pytest
from tests.integration.session_processes import OWN_NAME

import skep
from skep.local.embedded import WorkerProcess
from skep_shared.settings import Settings

from .proxy import Link, Ruler

pytestmark = pytest.mark.anyio

LONG = 600.0


@pytest.fixture
async def links(redis_server):
    """Yield a function that opens a link to the server."""
    opened = []

    async def open_link(name):
        opened.append(Link(name, Path(redis_server.socket_path), Ruler()))
        await opened[-1].open()
        return opened[-1]

    yield open_link
    for link in opened:
        await link.close()


@pytest.fixture
async def far(links, settings, redis_server, tmp_path):
    """A worker with a link, a session on it, and another worker that would take over."""
    link = await links("w")
    flags = ("--prefix", settings.prefix, "--lease-seconds", "3", "--log-format", "json")
    workers = [WorkerProcess(link.url, flags=flags, log_path=tmp_path / "log")]
    await workers[0].start()
    async with skep.connect(settings=Settings.load(redis_url=settings.redis_url, prefix=settings.prefix)) as cluster:
        session = cluster.session("s")
        await session.run(f"import os; kept = {OWN_NAME}", wait=20)
        workers.append(WorkerProcess(redis_server.url, flags=flags, log_path=tmp_path / "log"))
        await workers[1].start()
        yield link, session
    for worker in workers:
        await worker.kill()


async def test_a_delay_of_200_ms_causes_no_takeover(far):
    link, session = far
    link.delay(LONG)
    cells = [await session.submit(f"{OWN_NAME} == kept") for _ in range(5)]

    assert [(await cell.outcome(40)).value for cell in cells] == [True] * 5
    assert (await session.info()).epoch == 1


@pytest.mark.timeout(130)  # a busy machine
async def test_a_narrow_link_causes_no_takeover_while_a_large_state_is_stored(far):
    link, session = far
    link.slow_down(LONG)  # 8 MB take 6 s, twice the lease
    outcome = await session.run(f"large = os.urandom(8_000_000); {OWN_NAME} == kept")

    assert outcome.value is True
    assert (await session.info()).epoch == 1


async def test_an_interruption_shorter_than_the_lease_causes_no_takeover(far):
    link, session = far
    link.cut(1.0)

    assert (await session.run(f"{OWN_NAME} == kept", wait=40)).value is True
    assert (await session.info()).epoch == 1


async def test_calls_of_a_client_that_is_cut_off_end_by_their_deadlines(links, settings):
    link = await links("c")
    own = Settings.load(
        redis_url=link.url, prefix=settings.prefix, command_timeout_seconds=0.3, connect_timeout_seconds=0.3,
        block_seconds=0.3, outage_seconds=0.5,
    )  # fmt: skip
    async with skep.connect(settings=own) as cluster:
        cell = await cluster.session("s").submit("1")
        link.cut(LONG)
        began = time.monotonic()
        calls = [cluster.session("s").submit("2"), cluster.session("s").info(), cell.outcome(LONG)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [skep.RedisUnavailable] * 3
        assert time.monotonic() - began < LONG / 10  # not when the link comes back
        link.heal()
