"""`session.update` changes what may change, in a session with or without a process, and refuses the rest."""

import asyncio
import contextlib
import secrets

import pytest

import skep

pytestmark = pytest.mark.anyio

FIRST = skep.SessionOptions(labels={"app": "x"}, env={"A": "b"}, interrupt_grace=0.5, idle_seconds=500)


@pytest.fixture
def session(cluster):
    return cluster.session(f"s-{secrets.token_hex(6)}", options=FIRST)


async def stored(session):
    fields = await session._link.redis.hgetall(session._link.keys.session(session.id))
    return skep.SessionOptions.unpack(fields[b"options"])


async def test_what_is_given_changes_and_the_rest_remains(session):
    await session.run("1")
    await session.update(skep.SessionOptions(labels={"app": "y"}, expires_in=3600))

    assert await stored(session) == FIRST.model_copy(update={"labels": {"app": "y"}, "expires_in": 3600.0})
    info = await session.info()
    assert (info.labels, info.idle_seconds, info.expires_in) == ({"app": "y"}, 500, 3600)


async def test_none_is_the_default_again(session):
    await session.run("1")
    await session.update(skep.SessionOptions(idle_seconds=None, labels={}))

    assert await stored(session) == FIRST.model_copy(update={"idle_seconds": None, "labels": {}})


async def test_a_resident_session_hibernates_by_its_new_time_at_once(session):
    await session.run("x = 1")
    async with contextlib.aclosing(session.events(follow=True)) as events:
        await session.update(skep.SessionOptions(idle_seconds=0.1))
        async for event in events:
            if event.kind == "session.hibernated":
                break

    assert event.reason == "it was idle for 0.1 s"
    assert (await session.run("x")).value == 1


async def test_it_survives_hibernation_takeover_and_rollback_and_forks_have_it(shard, start_worker):
    first = await start_worker()
    session = shard.session("s", options=FIRST)
    await session.run("x = 1")
    await session.update(skep.SessionOptions(labels={"app": "y"}))
    changed = await stored(session)

    await session.hibernate()
    await session.run("x = 2")
    await session.rollback("1-0")
    fork = await session.fork("f")
    await first.kill()
    await start_worker()
    assert (await session.run("x")).value == 1
    assert (await fork.run("x")).value == 1
    assert [await stored(session), await stored(fork)] == [changed, changed]


async def test_a_session_without_a_worker_is_changed(shard):
    session = shard.session("s", options=FIRST)
    await session.submit("1")
    await session.update(skep.SessionOptions(labels={}))

    assert (await session.info()).labels == {}


async def test_many_clients_lose_no_change(session):
    await session.run("1")
    await asyncio.gather(
        *(session.update(skep.SessionOptions(labels={"n": str(number)})) for number in range(5)),
        *(session.update(skep.SessionOptions(expires_in=number)) for number in range(100, 105)),
    )

    options = await stored(session)
    assert options.labels["n"] in "01234"
    assert options.expires_in in range(100, 105)
    assert options.env == {"A": "b"}


@pytest.mark.parametrize(
    "options",
    [{"env": {"A": "secret"}}, {"cwd": "x"}, {"durability": "none"}, {"sandbox": "none"}, {"limits": skep.Limits()}],
)
async def test_an_option_that_can_not_change_is_refused_by_name(session, options):
    await session.run("1")
    with pytest.raises(skep.InvalidArgument, match="only labels, idle_seconds, expires_in can change") as caught:
        await session.update(skep.SessionOptions(labels={"app": "y"}, **options))

    assert caught.value.field == next(iter(options))
    assert "secret" not in str(caught.value)
    assert await stored(session) == FIRST


@pytest.mark.parametrize("options", [None, {"labels": {"app": "y"}}, skep.SessionOptions()])
async def test_no_options_are_refused(session, options):
    await session.run("1")
    with pytest.raises(skep.InvalidArgument) as caught:
        await session.update(options)

    assert caught.value.field == "options"
    assert await stored(session) == FIRST


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": {str(number): "x" for number in range(33)}}, "labels"),
        ({"labels": {"a": "x" * 201}}, "labels"),
        ({"idle_seconds": 0.0}, "idle_seconds"),
        ({"expires_in": float("inf")}, "expires_in"),
    ],
)
async def test_a_value_out_of_bounds_is_refused_also_past_the_models_check(session, changes, field):
    await session.run("1")
    options = skep.SessionOptions().model_copy(update=changes)
    with pytest.raises(skep.InvalidArgument) as caught:
        await session.update(options)

    assert caught.value.field == field
    assert await stored(session) == FIRST


async def test_an_unknown_or_closed_session_is_refused(cluster, session):
    with pytest.raises(skep.NotFound):
        await cluster.session("unknown").update(skep.SessionOptions(labels={}))
    await session.run("1")
    await session.close()
    with pytest.raises(skep.SessionClosed):
        await session.update(skep.SessionOptions(labels={}))
