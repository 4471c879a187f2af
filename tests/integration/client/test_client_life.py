"""A client belongs to one event loop of one process: elsewhere, and once it is closed, its calls say so at once."""

import asyncio
import gc
import subprocess
import sys
import threading
import warnings

import pytest

import skep

pytestmark = pytest.mark.anyio

FORK = """
import asyncio, os, sys, skep

async def main():
    async with skep.connect(sys.argv[1]) as cluster:
        session = cluster.session("s")
        cell = await session.submit("1")
        if os.fork() == 0:
            asyncio._set_running_loop(None)
            async def use():
                for call in (lambda: session.submit("2"), session.info, lambda: cell.outcome(), session.variables):
                    try:
                        await call()
                    except skep.ClientUnusable as exc:
                        print("child:", exc, flush=True)
            asyncio.new_event_loop().run_until_complete(use())
            asyncio._set_running_loop(asyncio.new_event_loop())
            del session, cell  # what is left of the client here must not touch the parent's connections
            os._exit(0)
        os.wait()
        for _ in range(20):
            assert (await session.info()).seq == 1
        print("parent: fine")

asyncio.run(main())
"""
LEFT_OPEN = """
import asyncio, sys, skep

async def main():
    global cluster
    cluster = await skep.connect(sys.argv[1]).__aenter__()
    await cluster.session("s").submit("1")

async def again():
    await cluster.session("s").info()

asyncio.run(main())
try:
    asyncio.run(again())
except skep.ClientUnusable as exc:
    print(exc)
"""


def ran(script, url):
    """Run a script with the server's URL; give what it printed and what it complained of."""
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, timeout=40, check=False)
    return done.stdout, done.stderr


@pytest.fixture
async def cell(shard):
    """A cell that no worker runs."""
    return await shard.session("s").submit("1")


def calls(shard, cell):
    """Return what a client may be used for."""
    session = shard.session("s")
    return {
        "submit": lambda: session.submit("2"),
        "run": lambda: session.run("2"),
        "defer": lambda: session.submit("2", defer_by=1),
        "info": session.info,
        "outcome": cell.outcome,
        "look up": lambda: shard.cell("s", "unknown").outcome(),
        "variables": session.variables,
        "interrupt": session.interrupt,
        "events": lambda: anext(aiter(session.events())),
        "follow": lambda: anext(aiter(session.events(follow=True))),
        "sessions": lambda: anext(aiter(shard.sessions())),
        "update": lambda: session.update(skep.SessionOptions(labels={})),
        "run with callbacks": lambda: session.run("2", on_output=print),
        "close": session.close,
    }


async def refusals(calls):
    """Make each call, and give what it raised."""
    raised = {}
    for name, call in calls.items():
        try:
            async with asyncio.timeout(5):
                await call()
        except Exception as exc:  # noqa: BLE001 - whatever it is
            raised[name] = exc
    return raised


async def test_in_another_loop_every_call_raises_and_its_own_continues(shard, cell):
    wanted, raised = calls(shard, cell), {}
    thread = threading.Thread(target=lambda: raised.update(asyncio.run(refusals(wanted))))
    thread.start()
    await asyncio.to_thread(thread.join)

    assert {name: type(exc) for name, exc in raised.items()} == dict.fromkeys(wanted, skep.ClientUnusable)
    assert all("another event loop" in str(exc) for exc in raised.values())
    assert (await shard.session("s").info()).seq == 1


async def test_a_closed_client_raises_an_error_that_says_so(shard, redis_server):
    async with skep.connect(settings=shard.settings) as cluster:
        wanted = calls(cluster, await cluster.session("s").submit("1"))
    raised = await refusals(wanted)

    assert {name: type(exc) for name, exc in raised.items()} == dict.fromkeys(wanted, skep.ClientUnusable)
    assert all("closed" in str(exc) for exc in raised.values())
    assert (await shard.session("s").info()).seq == 1


async def test_in_a_fork_every_call_raises_and_the_parent_continues(redis_server):
    said, complaints = await asyncio.to_thread(ran, FORK, redis_server.url)

    assert said.count("before a fork") == 4
    assert "parent: fine" in said
    assert complaints == ""


async def test_a_client_that_is_left_open_at_the_end_of_its_loop_makes_no_noise_and_is_refused_in_the_next(
    redis_server,
):
    said, complaints = await asyncio.to_thread(ran, LEFT_OPEN, redis_server.url)

    assert "event loop that has ended" in said
    assert "Traceback" not in complaints


async def test_a_dropped_client_closes_its_connections_and_warns(shard, eventually):
    redis = shard._link.redis
    before = len(await redis.client_list())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cluster = await skep.connect(settings=shard.settings).__aenter__()
        cell = await cluster.session("dropped").submit("1")
        del cluster, cell
        gc.collect()

        async def nothing_is_left():
            return len(await redis.client_list()) <= before

        await eventually(nothing_is_left)

    assert "a skep client was dropped without being closed" in {str(warning.message) for warning in told}


async def test_the_result_of_connect_says_how_it_is_used(shard):
    connecting = skep.connect(settings=shard.settings)
    with pytest.raises(skep.ClientUnusable, match="async with"):
        await connecting
    with pytest.raises(skep.ClientUnusable, match="async with"):
        connecting.session("s")
    with pytest.raises(AttributeError):
        _ = connecting.nonsense
    async with connecting as cluster:
        assert (await cluster.session("s").submit("1")).id
        with pytest.raises(skep.ClientUnusable, match="already open"):
            await connecting.__aenter__()
