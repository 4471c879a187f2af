"""Operations that are sent while their session changes its owner: the current owner answers, or they are refused at once."""

import asyncio
import os
import signal

import pytest

import skep
from skep.replies import Moved
from skep_shared.values import encode_value

pytestmark = pytest.mark.anyio

LOOKS = [
    lambda session: session.variables(),
    lambda session: session.files.list(),
    lambda session: session.complete("x", 1),
    lambda session: session.inspect("x"),
]


@pytest.mark.parametrize("look", LOOKS, ids=["variables", "files", "complete", "inspect"])
async def test_an_operation_right_after_hibernate_is_answered(session, look):
    for _ in range(10):
        await session.run("x = 1")
        await session.hibernate()
        await look(session)


async def test_hibernate_answers_when_the_session_has_been_released(session):
    await session.run("import atexit\natexit.register(print, 'bye')")
    for _ in range(5):
        await session.hibernate()
        info = await session.info()
        assert (info.owner, info.owner_alive) == (None, False)
        await session.variables()


async def test_hibernating_a_session_without_an_owner_succeeds(session, cluster):
    await session.run("x = 1")
    await session.hibernate()
    epoch = (await session.info()).epoch
    await session.hibernate()

    assert (await session.info()).epoch == epoch
    with pytest.raises(skep.NotFound):
        await cluster.session("never-seen").hibernate()


async def test_concurrent_requests_to_hibernate_a_session_are_all_answered(session):
    await session.run("x = 1")
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(session.hibernate())

    assert not (await session.info()).owner_alive


async def test_an_operation_in_the_mailbox_of_a_worker_without_the_session_is_sent_back(session):
    """The operation was sent a moment before the session left."""
    await session.run("x = 1")
    owner = (await session.info()).owner
    await session.hibernate()
    operation = session._replies.operation()
    fields = {
        "k": "operate", "s": session.id, "q": 0, "c": session._replies.client_id, "o": operation.id, "m": "variables",
        "p": encode_value({}), "d": "20",
    }  # fmt: skip
    await session._link.redis.xadd(session._link.keys.mailbox(owner), fields)
    await operation.reply

    with pytest.raises(Moved):
        operation.result()


async def test_an_operation_that_is_sent_twice_is_done_once(session):
    """Its sender had lost the connection before the reply to the first request."""
    await session.run("x = 1")
    await session.run("x = 2")
    control = session._link.scripts.control
    sent = 0

    async def send_twice(*arguments, **options):
        nonlocal sent
        sent += 2
        await control(*arguments, **options)
        return await control(*arguments, **options)

    session._link.scripts.control = send_twice
    try:
        await session.rollback("1-0")
    finally:
        del session._link.scripts.control

    assert sent == 2
    assert (await session.run("x")).value == 1
    assert [event.kind async for event in session.events()].count("session.rolled_back") == 1


async def test_a_rollback_while_the_session_hibernates_is_done(session):
    await session.run("x = 1")
    for number in range(2, 6):
        await session.run(f"x = {number}")
        await asyncio.gather(session.hibernate(), session.rollback("1-0"))

        assert (await session.run("x")).value == 1


@pytest.mark.timeout(130)
async def test_none_of_a_thousand_operations_hangs_while_sessions_move(cluster, monkeypatch):
    monkeypatch.setattr("skep.operations.OPERATION_SECONDS", 100.0)  # a busy machine answers all of them, but later
    sessions = [cluster.session(f"moving-{number}") for number in range(10)]
    await asyncio.gather(*(session.run("x = 1") for session in sessions))

    def operate(number):
        session = sessions[number % len(sessions)]
        return session.hibernate() if number % 25 == 0 else LOOKS[number % len(LOOKS)](session)

    await asyncio.gather(*(operate(number) for number in range(1000)))

    for outcome in await asyncio.gather(*(session.run("x") for session in sessions)):
        assert outcome.value == 1


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_an_operation_continues_on_another_worker_when_its_worker_is_away(shard, start_worker, signal_number):
    first = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    second = await start_worker()
    os.kill(first.pid, signal_number)  # its lease holds for another second: what is sent now is sent to it

    assert [variable.name for variable in await session.variables()] == ["x"]
    assert (await session.info()).owner == second.worker_id


async def test_hibernating_a_session_whose_worker_is_away_ends_with_its_lease(shard, start_worker):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    os.kill(worker.pid, signal.SIGKILL)

    await session.hibernate()
    assert not (await session.info()).owner_alive


async def test_an_operation_on_a_session_that_is_closed_meanwhile_says_so(session):
    await session.run("x = 1")
    results = await asyncio.gather(session.close(), *(session.variables() for _ in range(20)), return_exceptions=True)

    assert results[0] is None
    assert {type(result) for result in results[1:]} <= {list, skep.SessionClosed}
    with pytest.raises(skep.SessionClosed):
        await session.variables()


async def test_none_of_a_thousand_operations_hangs_while_workers_come_and_go(shard, start_worker):
    workers = [await start_worker(), await start_worker()]
    sessions = [shard.session(f"s{number}") for number in range(10)]
    await asyncio.gather(*(session.run("x = 1") for session in sessions))
    kinds = [
        lambda session: session.variables(),
        lambda session: session.files.list(),
        lambda session: session.inspect("x"),
        lambda session: session.files.put("f", b"kept"),
        lambda session: session.hibernate(),
        lambda session: session.rollback("1-0"),
    ]

    async def operate(first):
        for number in range(first, 1000, 50):
            await kinds[number % len(kinds)](sessions[number % len(sessions)])

    async def replace_workers():
        for end in ("stop", "kill", "stop"):
            workers.append(await start_worker())
            await getattr(workers.pop(0), end)()

    await asyncio.gather(replace_workers(), *(operate(first) for first in range(50)))
    for session in sessions:
        assert (await session.run("x")).value == 1
