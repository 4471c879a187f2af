"""The scripts of webhooks: what each changes, who may, and that they can be sent again."""

import msgpack
import pytest

from skep_shared.broker.webhook_scripts import HoldStatus, Progress, WebhookScripts

pytestmark = pytest.mark.anyio

NAME = "acme/hook"


@pytest.fixture
def webhooks(own_shard, flush_before):
    """The scripts on a server whose script cache is empty before each call."""
    scripts = WebhookScripts(own_shard.redis, own_shard.keys)
    flush_before(scripts)
    return scripts


async def put(webhooks, name=NAME, definition=b"1", *, most_of_tenant=10, most=20):
    return await webhooks.put(name, definition, most_of_tenant=most_of_tenant, most=most)


async def test_a_webhook_is_stored_and_replaced(webhooks, own_redis):
    assert await put(webhooks) is None
    assert await put(webhooks, definition=b"2") is None

    assert await own_redis.hgetall(webhooks.keys.webhooks) == {NAME.encode(): b"2"}


async def test_webhooks_are_counted_by_tenant_and_altogether(webhooks):
    for name in ("acme/a", "acme/b", "acmeo/a", "/a"):
        assert await put(webhooks, name, most_of_tenant=2, most=4) is None

    assert await put(webhooks, "acme/c", most_of_tenant=2, most=9) == (2, 2)
    assert await put(webhooks, "beta/c", most_of_tenant=2, most=4) == (4, 4)
    assert await put(webhooks, "/b", most_of_tenant=1, most=9) == (1, 1)
    assert await put(webhooks, "acme/a", most_of_tenant=1, most=1) is None  # replaced, not added


async def test_one_process_holds_a_webhook(webhooks, own_redis):
    await put(webhooks)

    assert await webhooks.hold(NAME, b"1", "t1", 60_000) is HoldStatus.OK
    assert await webhooks.hold(NAME, b"1", "t1", 60_000) is HoldStatus.OK  # sent again
    assert await webhooks.hold(NAME, b"1", "t2", 60_000) is HoldStatus.HELD
    assert 0 < await own_redis.pttl(webhooks.keys.webhook_lease(NAME)) <= 60_000
    assert not await webhooks.renew(NAME, "t2", 60_000)
    assert not await webhooks.renew(NAME, "t2", 0)
    assert await webhooks.renew(NAME, "t1", 90_000)
    assert await own_redis.pttl(webhooks.keys.webhook_lease(NAME)) > 60_000
    assert await webhooks.renew(NAME, "t1", 0)
    assert not await webhooks.renew(NAME, "t1", 60_000)  # it does not come back
    assert await webhooks.hold(NAME, b"1", "t2", 60_000) is HoldStatus.OK


async def test_a_webhook_that_asks_for_something_else_now_is_not_held(webhooks):
    await put(webhooks)

    assert await webhooks.hold(NAME, b"0", "t1", 60_000) is HoldStatus.STALE
    assert await webhooks.hold("acme/unknown", b"1", "t1", 60_000) is HoldStatus.STALE


async def test_a_change_ends_the_lease_and_what_failed_but_not_the_cursors(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    await webhooks.record(NAME, "t1", [Progress("acme/s", "4:1", b"failure")])

    await put(webhooks, definition=b"2")

    keys = webhooks.keys
    assert not await own_redis.exists(keys.webhook_lease(NAME), keys.webhook_failures(NAME), keys.webhook(NAME))
    assert await own_redis.hgetall(keys.webhook_cursors(NAME)) == {b"acme/s": b"4:1"}
    assert not await webhooks.record(NAME, "t1", [Progress("acme/s", "9:1")])
    assert await own_redis.hget(keys.webhook_cursors(NAME), "acme/s") == b"4:1"


async def test_progress_is_recorded_by_the_holder_only(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    cursors, failures = webhooks.keys.webhook_cursors(NAME), webhooks.keys.webhook_failures(NAME)

    assert await webhooks.record(NAME, "t1", [Progress("a", "1:1", b"f"), Progress("b", "2:1")])
    assert await own_redis.hgetall(cursors) == {b"a": b"1:1", b"b": b"2:1"}
    assert await own_redis.hgetall(failures) == {b"a": b"f"}
    assert await webhooks.record(NAME, "t1", [Progress("a", "2:1")])
    assert not await own_redis.exists(failures)
    assert not await webhooks.record(NAME, "t2", [Progress("a", "9:1", b"f")])
    assert await own_redis.hget(cursors, "a") == b"2:1"
    assert not await own_redis.exists(failures)


async def test_a_disabled_webhook_is_not_held_until_it_is_put_again(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    await webhooks.record(NAME, "t1", [Progress("a", "", b"f")], disabled_because="it failed")
    await webhooks.renew(NAME, "t1", 0)

    disabled = await own_redis.hgetall(webhooks.keys.webhook(NAME))
    assert disabled[b"reason"] == b"it failed"
    assert int(disabled[b"disabled"]) > 1_700_000_000_000
    assert await webhooks.hold(NAME, b"1", "t2", 60_000) is HoldStatus.DISABLED
    await put(webhooks)
    assert await webhooks.hold(NAME, b"1", "t2", 60_000) is HoldStatus.OK


async def test_a_replay_moves_the_cursor_and_ends_the_lease(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    await webhooks.record(NAME, "t1", [Progress("a", "4:1", b"f"), Progress("b", "2:1", b"f")])

    assert await webhooks.replay(NAME, "a", "1:1")

    assert await own_redis.hget(webhooks.keys.webhook_cursors(NAME), "a") == b"1:1"
    assert await own_redis.hkeys(webhooks.keys.webhook_failures(NAME)) == [b"b"]
    assert not await webhooks.record(NAME, "t1", [Progress("a", "5:1")])
    assert not await webhooks.replay("acme/unknown", "a", "1:1")
    assert not await own_redis.exists(webhooks.keys.webhook_cursors("acme/unknown"))


async def test_nothing_is_left_of_a_removed_webhook(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    await webhooks.record(NAME, "t1", [Progress("a", "4:1", b"f")], disabled_because="x")

    assert await webhooks.remove(NAME)

    assert not await own_redis.keys(f"{webhooks.keys.prefix}:webhook*")
    assert not await webhooks.remove(NAME)


async def test_many_sessions_are_recorded_in_one_step(webhooks, own_redis):
    await put(webhooks)
    await webhooks.hold(NAME, b"1", "t1", 60_000)
    sessions = [Progress(f"s{number}", f"{number}:1", msgpack.packb(number)) for number in range(500)]

    assert await webhooks.record(NAME, "t1", sessions)

    assert await own_redis.hlen(webhooks.keys.webhook_cursors(NAME)) == 500
    assert await own_redis.hlen(webhooks.keys.webhook_failures(NAME)) == 500
