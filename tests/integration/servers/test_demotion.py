"""A master becomes a replica, planned or not, with sentinels or with a name that leads to its successor."""

import asyncio
import contextlib
import secrets

import pytest
from redis.exceptions import ReadOnlyError

import skep

from .answering_proxy import AnsweringProxy
from .tcp_servers import Sentinel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(100)]
LARGE = "'" + "a" * 100_000 + "'[:1]"  # uses the pool, not the shared connection


@pytest.fixture
async def trio(start_server):
    """A master and two replicas with all its data."""
    master, *replicas = [await start_server("--appendonly", "no") for _ in range(3)]
    for replica in replicas:
        await replica.follow(master)
    return master, *replicas


@pytest.fixture
async def sentinel(binary, tmp_path, trio):
    """A sentinel that knows them."""
    sentinel = Sentinel(binary, tmp_path / "sentinel", trio[0])
    try:
        await sentinel.start()
        await sentinel.knows_replicas(2)
        yield sentinel
    finally:
        await sentinel.close()


async def followed(session, last_seq):
    """Follow the events until this cell has finished; return their ids."""
    ids = []
    async with contextlib.aclosing(session.events(follow=True)) as events:
        async for event in events:
            ids.append(event.id)
            if event.kind == "cell.finished" and event.seq == last_seq:
                break
    return ids


async def check_uses_over(client, gate, first_output, switch):
    """Wait, follow, submit and query as a client while the master is replaced; nothing may be lost or doubled."""
    session = client.session("s")
    await session.run("n = 0")
    cell = await session.submit(f"print('ready')\n{gate.wait}\nn += 1; n")
    await first_output(cell)
    waits = [asyncio.create_task(cell.outcome()), asyncio.create_task(followed(session, 2))]
    await asyncio.sleep(0)
    await switch()
    gate.open(9)  # it may run again
    outcome, ids = await asyncio.gather(*waits)

    assert (outcome.status, outcome.value) == ("finished", 1)
    assert ids == [f"{number}-0" for number in range(1, len(ids) + 1)]
    assert (await session.run("n += 1; n")).value == 2
    assert (await session.run(LARGE)).value == "a"
    assert [found.id async for found in client.sessions()] == ["s"]
    assert (await client.session("new").run("1 + 1")).value == 2
    assert {variable.name for variable in await session.variables()} == {"n"}
    await session.hibernate()
    assert (await session.run("n")).value == 2


@pytest.mark.parametrize("is_planned", [True, False], ids=["planned", "unplanned"])
async def test_sentinels_lead_to_the_new_master(trio, sentinel, work_at, connect_to, gate, first_output, is_planned):
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/svc/0"
    await work_at(url)
    client = await connect_to(url)
    master = trio[0]

    async def switch():
        if is_planned:
            await sentinel.admin.execute_command("SENTINEL", "FAILOVER", "svc")
        else:
            for replica in trio[1:]:
                await replica.catch_up(master)
            master.process.kill()
        while await sentinel.master_port() == master.port:  # noqa: ASYNC110 - it sends no signal
            await asyncio.sleep(0.05)

    await check_uses_over(client, gate, first_output, switch)


@pytest.mark.parametrize("how", ["promoted", "coordinated"])
async def test_a_name_that_leads_to_the_successor_is_enough(trio, work_at, connect_to, gate, first_output, how):
    master, successor, _ = trio
    proxy = await AnsweringProxy(master.port).start()  # open connections remain with the old master
    try:
        await work_at(proxy.url)
        client = await connect_to(proxy.url)

        async def switch():
            proxy.target = successor.port
            if how == "coordinated":
                await master.admin.execute_command("FAILOVER", "TO", "127.0.0.1", successor.port)
            else:
                await successor.admin.replicaof("NO", "ONE")
                await master.admin.replicaof("127.0.0.1", successor.port)
            while await successor.role() != "master":  # noqa: ASYNC110 - it sends no signal
                await asyncio.sleep(0.02)

        await check_uses_over(client, gate, first_output, switch)
    finally:
        await proxy.close()


async def test_one_refusal_is_enough_for_all_connections_of_a_client(trio, connect_to):
    master, successor, _ = trio
    proxy = await AnsweringProxy(master.port).start()
    try:
        client = await connect_to(proxy.url)
        link = client._link
        key = f"{link.settings.prefix}:{secrets.token_hex(4)}"
        pools = (link.redis, link.blocking)
        for redis in pools:
            await asyncio.gather(*(redis.get(key) for _ in range(6)))  # so that several connections are open
        await link.reading_lane.execute_command("GET", key)
        await successor.admin.replicaof("NO", "ONE")
        await master.admin.replicaof("127.0.0.1", successor.port)
        with pytest.raises(ReadOnlyError):
            await link.redis.set(key, "early")
        with pytest.raises(ReadOnlyError, match="no master"):  # the name still leads to the old one
            await link.reading_lane.execute_command("GET", key)
        proxy.target = successor.port

        for redis in pools:
            await asyncio.gather(*(redis.set(key, "x") for _ in range(6)))
        assert await link.reading_lane.execute_command("GET", key) == b"x"
        await link.scripts.open("s", b"")
    finally:
        await proxy.close()


async def test_a_server_that_loads_its_data_is_waited_for(start_server, work_at, connect_to, gate, first_output):
    server = await start_server("--appendonly", "yes", "--appendfsync", "always")
    await work_at(server.url)
    client = await connect_to(server.url)
    session = client.session("s")
    await session.run("n = 1")
    cell = await session.submit(f"print('ready')\n{gate.wait}\nn")
    await first_output(cell)
    await server.admin.eval("for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end", 0)
    await server.admin.execute_command("BGREWRITEAOF")
    while int((await server.admin.info("persistence"))["aof_rewrite_in_progress"]):  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0.02)
    waiting = asyncio.create_task(cell.outcome())
    await asyncio.sleep(0)
    server.process.kill()
    server.process.wait()
    server.flags = (*server.flags, "--key-load-delay", "100")  # microseconds
    await server.start()
    late = asyncio.create_task(session.run("n + 1"))
    gate.open()

    assert (await waiting).value == 1
    assert (await late).value == 2


async def test_waiting_for_a_replica_to_become_master_is_bounded(trio, connect_to):
    client = await connect_to(trio[1].url, outage_seconds=0.5)

    with pytest.raises(skep.RedisUnavailable, match=r"replica|no master"):
        await client.session("s").submit("1")
