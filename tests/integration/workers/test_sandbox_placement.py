"""Sessions that ask for a sandbox: which workers run them, at first and whenever they get another owner."""

import contextlib

import pytest

import skep
from skep_shared.broker.mailbox_entries import ActivateSession
from skep_workers.sandbox.kernel.landlock import abi_version

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock"),
]

BASIC = skep.SessionOptions(sandbox="basic")
TIERS = "one of none, basic, userns, strict is needed"
NONE_HERE = "no worker with sandbox basic or stronger is alive; workers without it: 1, with sandbox none (1)"


async def owner(session):
    return (await session.info()).owner


@pytest.fixture
def weak(shard, run_logged):
    """Return a function that starts a worker without a sandbox, whose log can be waited for."""

    async def start():
        settings = shard.settings
        place = {"SKEP_REDIS_URL": settings.redis_url, "SKEP_PREFIX": settings.prefix, "SKEP_LEASE_SECONDS": "1"}
        worker = await run_logged("-m", "skep_workers", **place)
        await worker.says("worker.ready")
        return worker

    return start


@pytest.fixture
def strong(start_worker):
    """Return a function that starts a worker with a sandbox."""

    async def start():
        return await start_worker("--sandbox", "basic")

    return start


async def test_a_session_that_asks_for_a_sandbox_runs_only_where_there_is_one(shard, start_worker, strong):
    await start_worker("--sandbox", "none")
    second = await strong()

    for number in range(12):
        session = shard.session(f"s-{number}", options=BASIC)
        assert (await session.run("42")).value == 42
        info = await session.info()
        assert (info.owner, info.sandbox, info.owner_sandbox) == (second.worker_id, "basic", "basic")


async def test_a_session_without_a_wish_runs_on_any_worker(shard, start_worker, strong):
    first = await start_worker("--sandbox", "none")
    assert (await shard.session("a").run("1")).ok
    assert await owner(shard.session("a")) == first.worker_id
    await first.stop()
    second = await strong()

    assert (await shard.session("b").run("1")).ok
    info = await shard.session("b").info()
    assert (info.owner, info.sandbox, info.owner_sandbox) == (second.worker_id, "none", "basic")


async def test_a_session_waits_for_a_worker_with_the_sandbox(shard, weak, strong):
    first = await weak()
    session = shard.session("s", options=BASIC)
    cell = await session.submit("42")

    line = await first.says("session.unplaceable", session_id="s", sandbox="basic", requires={})
    assert line["reason"] == NONE_HERE
    info = await session.info()
    assert (info.owner, info.owner_sandbox, info.shortage) == (None, None, NONE_HERE)
    assert [each.shortage async for each in shard.sessions()] == [NONE_HERE]
    [reason] = (await shard.why("s")).reasons
    assert reason.startswith(f"{NONE_HERE} (since ")

    second = await strong()
    assert (await cell.outcome()).value == 42
    info = await session.info()
    assert (info.owner, info.shortage) == (second.worker_id, "")


async def test_a_worker_with_a_weaker_sandbox_cannot_claim_it_however_it_learns_of_it(shard, weak, strong):
    first = await weak()
    session = shard.session("s", options=BASIC)
    cell = await session.submit("42")
    [info] = [info async for info in shard.workers()]
    await shard._link.redis.xadd(shard._link.keys.mailbox(info.id), ActivateSession("s").pack())

    await first.says("claim.refused", session_id="s", sandbox="none")
    assert (await session.info()).epoch == 0
    second = await strong()
    assert (await cell.outcome()).value == 42
    assert await owner(session) == second.worker_id


async def asked(events, attempt):
    """Wait until this attempt of a cell asks for input: the signal that it runs."""
    async for event in events:
        if event.kind == "input.requested" and event.attempt == attempt:
            return


async def test_a_takeover_goes_to_another_worker_with_the_sandbox(shard, start_worker, strong):
    await start_worker("--sandbox", "none")
    second = await strong()
    session = shard.session("s", options=BASIC)
    await session.run("x = 40")
    cell = await session.submit("x + int(input())")
    async with contextlib.aclosing(cell.events()) as events:
        await asked(events, 1)
        third = await strong()
        await second.kill()
        await asked(events, 2)
    await session.answer("2")

    outcome = await cell.outcome()
    assert (outcome.value, outcome.attempt) == (42, 2)
    info = await session.info()
    assert (info.owner, info.owner_sandbox, info.epoch) == (third.worker_id, "basic", 2)


async def test_after_the_loss_of_the_last_worker_with_the_sandbox_the_session_waits(shard, weak, strong):
    first = await weak()
    second = await strong()
    session = shard.session("s", options=BASIC)
    await session.run("x = 41")
    await second.kill()
    cell = await session.submit("x + 1")

    await first.says("session.unplaceable", session_id="s", sandbox="basic")
    assert (await session.info()).shortage == NONE_HERE
    third = await strong()
    assert (await cell.outcome()).value == 42
    assert await owner(session) == third.worker_id


async def test_hibernated_rolled_back_and_drained_sessions_stay_in_their_sandbox(shard, start_worker, strong):
    second = await strong()
    session = shard.session("s", options=BASIC)
    await session.run("x = 1")
    await session.run("x = 2")
    await start_worker("--sandbox", "none")

    await session.hibernate()
    assert (await session.run("x")).value == 2
    assert await owner(session) == second.worker_id
    await session.rollback("1-0")
    assert (await session.run("x")).value == 1
    assert await owner(session) == second.worker_id
    third = await strong()
    await second.stop()
    assert (await session.run("x")).value == 1
    assert await owner(session) == third.worker_id


async def test_a_fork_inherits_the_sandbox_and_may_only_raise_it(shard, start_worker, strong):
    first = await start_worker("--sandbox", "none")
    free, bound = shard.session("free"), shard.session("bound", options=BASIC)
    await free.run("x = 1")
    second = await strong()
    await bound.run("x = 1")

    inherited, raised, other = (
        await bound.fork("inherited"),
        await free.fork("raised", sandbox="basic"),
        await free.fork("f"),
    )
    for session, asked in ((inherited, "basic"), (raised, "basic")):
        assert (await session.run("x")).value == 1
        info = await session.info()
        assert (info.owner, info.sandbox) == (second.worker_id, asked)
    assert (await other.run("x")).value == 1
    assert (await other.info()).sandbox == "none"
    assert await owner(free) == first.worker_id

    with pytest.raises(skep.InvalidArgument) as caught:
        await bound.fork("weaker", sandbox="none")
    assert (caught.value.field, caught.value.value) == ("sandbox", "none")
    assert caught.value.limit == "session 'bound' asks for at least basic, and a fork of it can't ask for less"
    with pytest.raises(skep.InvalidArgument, match=TIERS):
        await bound.fork("unknown", sandbox="best")
    assert {info.id async for info in shard.sessions()} == {"free", "bound", "inherited", "raised", "f"}


async def test_a_fork_keeps_every_other_option(shard, start_worker):
    await start_worker()
    options = skep.SessionOptions(labels={"a": "b"}, interrupt_grace=0.25, limits=skep.Limits(output_bytes=2000))
    session = shard.session("s", options=options)
    await session.run("1")
    await session.fork("f", sandbox="strict")

    stored = await shard._link.redis.hget(shard._link.keys.session("f"), "options")
    assert skep.SessionOptions.unpack(stored) == options.model_copy(update={"sandbox": "strict"})


# --- what is refused before anything is written


@pytest.mark.parametrize("tier", ["best", "auto", "", "Basic"])
async def test_an_unknown_tier_is_refused(shard, tier):
    with pytest.raises(skep.InvalidArgument) as caught:
        shard.session("s", options=skep.SessionOptions(sandbox=tier))

    assert (caught.value.field, caught.value.value, caught.value.limit) == ("sandbox", tier, TIERS)


async def test_a_stronger_sandbox_than_that_of_an_existing_session_is_refused(shard):
    await shard.session("s").submit("1")
    session = shard.session("s", options=BASIC)
    refusal = (
        "session 's' asks for at least none, and options don't change: "
        "fork it with this sandbox, or use another session"
    )

    for call in (session.submit("2"), session.submit("2", defer_by=1)):
        with pytest.raises(skep.InvalidArgument) as caught:
            await call
        assert (caught.value.field, caught.value.value, caught.value.limit) == ("sandbox", "basic", refusal)
    assert (await session.info()).seq == 1


async def test_a_client_that_asks_for_less_may_submit(shard):
    await shard.session("s", options=BASIC).submit("1")
    await shard.session("s").submit("2")

    info = await shard.session("s").info()
    assert (info.seq, info.sandbox) == (2, "basic")


async def test_a_deferred_first_cell_makes_a_session_with_the_options_of_its_handle(shard):
    options = skep.SessionOptions(sandbox="strict", requires={"gpu": "yes"})
    await shard.session("s", options=options).submit("1", defer_by=3600)

    stored = await shard._link.redis.hget(shard._link.keys.session("s"), "options")
    assert skep.SessionOptions.unpack(stored) == options
