"""Error replies of Redis: clients wait out temporary ones, other ones are raised by every waiting call, and the client
works again after either."""

import asyncio
import contextlib
import secrets

import pytest

import skep

from ..session_processes import OWN_NAME
from .answering_proxy import AnsweringProxy

pytestmark = pytest.mark.anyio

PASSING = {
    "UNBLOCKED": "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "READONLY": "READONLY You can't write against a read only replica.",
    "READONLY in a script on 6.2": "ERR Error running script (call to f_1): @user_script:51: @user_script: 51: "
    "-READONLY You can't write against a read only replica.",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "CLUSTERDOWN": "CLUSTERDOWN Hash slot not served",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "BUSY": "BUSY Redis is busy running a script.",
    "one of the future": "NEWSTATE the server is in a state that nobody has heard of",
}
LASTING = {
    "NOPERM": "NOPERM this user has no permissions to run the 'xread' command or its subcommand",
    "NOPERM of 7": "NOPERM User eve has no permissions to run the 'evalsha' command",
    "NOAUTH": "NOAUTH Authentication required.",
    "ERR": "ERR unknown command 'XREAD', with args beginning with: 'SECRETMARK' ",
    "WRONGTYPE": "WRONGTYPE Operation against a key holding the wrong kind of value",
}


@pytest.fixture
async def waiting(session, gate, first_output):
    """A cell that waits at the gate; `kept` is in its process alone."""
    await session.run(f"kept = {OWN_NAME}")
    cell = await session.submit(f"print('ready')\n{gate.wait}\n{OWN_NAME} == kept")
    await first_output(cell)
    return cell


async def seen_end(session, cell):
    """Follow the session's events up to the end of this cell; return their number."""
    number = 0
    async with contextlib.aclosing(session.events(follow=True)) as events:
        async for event in events:
            number += 1
            if event.kind == "cell.finished" and event.cell_id == cell.id:
                return number
    raise AssertionError("the events ended before the cell did")


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
async def test_all_calls_wait_out_a_temporary_error(session, waiting, proxy, gate, error):
    async with asyncio.TaskGroup() as group:
        outcome = group.create_task(waiting.outcome())
        following = group.create_task(seen_end(session, waiting))
        proxy.refuse(error)
        late = group.create_task(session.run(f"{OWN_NAME} == kept"))
        info = group.create_task(session.info())
        await proxy.has_answered(8)
        gate.open()
        proxy.heal()

    assert outcome.result().value is True
    assert late.result().value is True
    assert info.result().epoch == 1
    assert following.result() > 0
    assert (await session.run(f"{OWN_NAME} == kept")).value is True


@pytest.mark.parametrize("error", LASTING.values(), ids=LASTING)
async def test_all_calls_raise_a_permanent_error_and_the_client_works_afterwards(
    client, session, waiting, proxy, gate, error
):
    waits = {
        "outcome": asyncio.create_task(waiting.outcome()),
        "follower": asyncio.create_task(seen_end(session, waiting)),
    }
    await asyncio.sleep(0)
    proxy.refuse(error)
    waits |= {
        "submit": asyncio.create_task(session.submit("1")),
        "info": asyncio.create_task(session.info()),
        "operation": asyncio.create_task(session.variables()),
        "listing": asyncio.create_task(anext(client.sessions())),
    }
    ended = dict(zip(waits, await asyncio.gather(*waits.values(), return_exceptions=True), strict=True))

    assert {name: type(end) for name, end in ended.items()} == dict.fromkeys(waits, skep.RedisRefused)
    assert "SECRETMARK" not in " ".join(f"{end} {end.__cause__!r}" for end in ended.values())

    proxy.heal()
    gate.open()

    assert (await waiting.outcome()).value is True  # the same handle
    assert (await session.run(f"{OWN_NAME} == kept")).value is True
    assert await seen_end(session, waiting) > 0


async def test_followers_that_share_a_connection_raise_the_same_error(client, session, waiting, proxy, gate):
    client._link._free_reads = 0
    following = asyncio.create_task(seen_end(session, waiting))
    proxy.refuse(LASTING["NOPERM"], "XREAD", "HGET")
    with pytest.raises(skep.RedisRefused):
        await following
    proxy.refuse(PASSING["UNBLOCKED"], "XREAD", "HGET")
    proxy.answered.clear()
    following = asyncio.create_task(seen_end(session, waiting))
    await proxy.has_answered(8)
    proxy.heal()
    gate.open()

    assert await following > 0


async def test_a_wait_for_a_cell_that_no_worker_runs_raises_too_and_can_be_repeated(proxy, connect_to):
    apart = await connect_to(proxy.url, prefix=f"t-{secrets.token_hex(4)}")  # no worker is here
    cell = await apart.session("s").submit("1")
    proxy.refuse(LASTING["NOPERM"])
    with pytest.raises(skep.RedisRefused, match="no permissions"):
        await cell.outcome()
    proxy.heal()

    with pytest.raises(skep.WaitTimeout):
        await cell.outcome(timeout=0.1)


async def test_no_replicas_are_waited_for_on_a_real_server(session, waiting, site, gate):
    admin = site.server.admin
    await admin.config_set("min-replicas-to-write", 1)
    before = int((await admin.info("stats"))["total_error_replies"])
    late = asyncio.create_task(session.submit(f"{OWN_NAME} == kept"))
    while int((await admin.info("stats"))["total_error_replies"]) < before + 4:  # noqa: ASYNC110 - it sends no signal
        await asyncio.sleep(0.01)
    gate.open()
    await admin.config_set("min-replicas-to-write", 0)

    assert (await waiting.outcome()).value is True
    assert (await (await late).outcome()).value is True


async def test_a_link_that_was_dropped_silently_is_replaced(site, connect_to):
    own_proxy = await AnsweringProxy(site.server.port).start()
    try:
        client = await connect_to(own_proxy.url)
        session = client.session(f"s-{secrets.token_hex(6)}")
        await session.run("n = 1")
        for call in (lambda: session.run("n"), session.info, lambda: anext(client.sessions()), session.variables):
            own_proxy.drop_silently()
            await call()

        assert (await session.run("n")).value == 1
    finally:
        await own_proxy.close()
