"""add_token.lua and revoke_token.lua: the records of the gateway's tokens."""

import pytest

from skep_shared.broker.token_scripts import AddedToken, TokenScripts

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


@pytest.fixture
def tokens(own_shard, flush_before):
    """The scripts on a server whose script cache is empty before each call."""
    scripts = TokenScripts(own_shard.redis, own_shard.keys)
    flush_before(scripts)
    return scripts


async def add(tokens, name="one", digest="d", *, tenant="", lifetime_ms=0, most=10, listed_ms=DAY_MS):
    return await tokens.add(
        name, digest, tenant=tenant, can="read", name="n", lifetime_ms=lifetime_ms, most=most, listed_ms=listed_ms
    )


async def test_a_token_is_stored_with_the_times_of_redis(tokens, own_redis):
    added = await add(tokens, tenant="acme", lifetime_ms=5000)

    assert (added.status, added.expires_ms - added.created_ms) == ("OK", 5000)
    assert await own_redis.hgetall(tokens.keys.token("one")) == {
        b"digest": b"d", b"tenant": b"acme", b"can": b"read", b"name": b"n",
        b"created": b"%d" % added.created_ms, b"expires": b"%d" % added.expires_ms,
    }  # fmt: skip
    assert await own_redis.zrange(tokens.keys.tokens, 0, -1, withscores=True) == [(b"one", added.expires_ms + DAY_MS)]
    assert 0 < await own_redis.pttl(tokens.keys.token("one")) <= 5000 + DAY_MS


async def test_a_token_that_is_stored_again_keeps_its_times(tokens):
    assert await add(tokens, lifetime_ms=5000) == await add(tokens, lifetime_ms=9000)


async def test_another_token_with_the_same_id_is_not_stored(tokens, own_redis):
    await add(tokens)

    assert await add(tokens, digest="other") == AddedToken("TAKEN")
    assert await own_redis.hget(tokens.keys.token("one"), "digest") == b"d"


async def test_a_token_above_the_bound_is_not_stored(tokens, own_redis):
    await add(tokens, most=1)

    assert await add(tokens, "two", most=1) == AddedToken("FULL", count=1)
    assert not await own_redis.exists(tokens.keys.token("two"))


async def test_an_ended_token_makes_room_when_it_is_listed_no_more(tokens, own_redis):
    await add(tokens, most=1)
    await own_redis.zadd(tokens.keys.tokens, {"one": 1})

    assert (await add(tokens, "two", most=1)).status == "OK"
    assert await own_redis.zrange(tokens.keys.tokens, 0, -1) == [b"two"]


async def test_a_revoked_token_has_no_digest_and_is_listed_for_a_while(tokens, own_redis):
    await add(tokens)

    revoked_ms = await tokens.revoke("one", tenant="", listed_ms=DAY_MS)

    assert await own_redis.hmget(tokens.keys.token("one"), "digest", "revoked") == [None, b"%d" % revoked_ms]
    assert await own_redis.zscore(tokens.keys.tokens, "one") == revoked_ms + DAY_MS
    assert 0 < await own_redis.pttl(tokens.keys.token("one")) <= DAY_MS
    assert await tokens.revoke("one", tenant="", listed_ms=1) == revoked_ms  # sent again


async def test_only_a_token_of_the_tenant_is_revoked(tokens, own_redis):
    await add(tokens, tenant="acme")

    assert await tokens.revoke("one", tenant="beta", listed_ms=DAY_MS) is None
    assert await tokens.revoke("unknown", tenant="", listed_ms=DAY_MS) is None
    assert await own_redis.hget(tokens.keys.token("one"), "digest") == b"d"
    assert await tokens.revoke("one", tenant="acme", listed_ms=DAY_MS)


async def test_a_token_is_revoked_on_a_full_server(tokens, own_redis):
    await add(tokens)
    await own_redis.config_set("maxmemory", 1)

    assert await tokens.revoke("one", tenant="", listed_ms=DAY_MS)
