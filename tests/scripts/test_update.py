"""update.lua: options change in one step, and no change of another client is lost."""

import pytest

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.mailbox_entries import UpdateSession
from skep_shared.broker.script_replies import UpdateStatus
from skep_shared.models import SessionOptions
from skep_shared.signing import Signer

pytestmark = pytest.mark.anyio

BEFORE = b"options"  # as `shard.submit` stores them
AFTER = SessionOptions(labels={"app": "x"}, idle_seconds=2.5).pack()
REQUEST = UpdateSession("s", 2.5)
KEY = "key-of-the-shard-0123456789abcdef0123"


async def stored(shard):
    return await shard.redis.hget(shard.keys.session("s"), "options")


async def test_the_options_of_a_session_without_owner_are_replaced(shard):
    await shard.submit("a")

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.OK
    assert await stored(shard) == AFTER


async def test_nothing_else_of_the_session_changes(shard):
    await shard.submit("a")
    before = await shard.session()
    await shard.scripts.update("s", BEFORE, b"changed", REQUEST)

    assert await shard.session() == before | {"options": "changed"}


async def test_a_live_owner_is_notified(shard):
    await shard.submit("a")
    await shard.claim("w1")

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.OK
    assert await shard.mail("w1") == [{"k": "update", "s": "s", "q": "0", "d": "2.5"}]


async def test_a_dead_owner_gets_no_mailbox_again(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.kill("w1")

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.OK
    assert await shard.mail("w1") == []
    assert (await shard.claim("w2")).options == AFTER


async def test_a_change_of_options_that_another_client_has_changed_is_refused(shard):
    await shard.submit("a")
    await shard.scripts.update("s", BEFORE, b"of another client", REQUEST)
    before = await shard.dump()

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.CHANGED
    assert await shard.dump() == before


async def test_a_change_that_is_sent_again_succeeds_again(shard):
    await shard.submit("a")

    for _ in range(2):
        assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.OK
    assert await stored(shard) == AFTER


async def test_an_unknown_session_has_no_options(shard):
    assert await shard.scripts.update("s", b"", AFTER, REQUEST) is UpdateStatus.UNKNOWN
    assert await shard.dump() == {}


@pytest.mark.parametrize("has_owner", [True, False])
async def test_a_session_that_is_closing_or_closed_is_left_alone(shard, has_owner):
    claim = await shard.save("a")
    if not has_owner:
        await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    before = await shard.dump()

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.CLOSED
    assert await shard.dump() == before


async def test_an_owner_with_other_keys_refuses_it_before_anything_is_written(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.redis.hset(shard.keys.worker("w1"), "keys", Signer([KEY], shard.keys.prefix).key_ids)
    before = await shard.dump()

    assert await shard.scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.UNSIGNED
    assert await shard.dump() == before


async def test_a_signed_change_carries_its_signature(shard):
    signer = Signer([KEY], shard.keys.prefix)
    await shard.submit("a")
    await shard.claim("w1")
    await shard.redis.hset(shard.keys.worker("w1"), "keys", signer.key_ids)

    scripts = ClientScripts(shard.redis, shard.keys, signer)
    assert await scripts.update("s", BEFORE, AFTER, REQUEST) is UpdateStatus.OK
    [entry] = await shard.mail("w1")
    assert entry["z"].startswith("v1-")
