"""check_server: a server that can't hold sessions is refused before anything is entrusted to it."""

import pytest

from skep_shared.broker.layout import LAYOUT
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.broker.server_check import check_server
from skep_shared.errors import RedisUnavailable, RedisUnsuitable
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_suitable_server_is_accepted(redis, settings):
    await check_server(redis, settings)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused_with_the_remedy(own_redis, own_settings, policy):
    await own_redis.config_set("maxmemory-policy", policy)

    with pytest.raises(RedisUnsuitable) as caught:
        await check_server(own_redis, own_settings)

    error = caught.value
    assert (error.what, error.actual, error.expected) == ("maxmemory-policy", policy, "noeviction")
    assert "maxmemory-policy noeviction" in error.remedy


async def test_an_unreachable_server_is_named_without_its_password(tmp_path):
    settings = Settings.load(redis_url=f"unix://:secret@{tmp_path}/no.sock")
    client = open_redis(settings)

    with pytest.raises(RedisUnavailable) as caught:
        await check_server(client, settings)
    await client.aclose()

    assert str(tmp_path) in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def says_version(redis, monkeypatch):
    """Have the server say that it is of another version."""

    def say(version):
        async def info():
            return {"redis_version": version, "maxmemory_policy": "noeviction"}

        monkeypatch.setattr(redis, "info", info)

    return say


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2", "unknown"])
async def test_a_server_older_than_6_2_is_refused(redis, settings, says_version, version):
    says_version(version)

    with pytest.raises(RedisUnsuitable) as caught:
        await check_server(redis, settings)

    assert (caught.value.what, caught.value.actual) == ("version", version)


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "10.0.1"])
async def test_a_server_from_6_2_on_is_accepted(redis, settings, says_version, version):
    says_version(version)

    await check_server(redis, settings)


async def test_data_of_another_layout_is_refused_with_both_numbers_and_the_remedy(redis, settings, keys):
    await redis.hset(keys.shard, mapping={"id": "x", "layout": LAYOUT + 1})

    with pytest.raises(RedisUnsuitable) as caught:
        await check_server(redis, settings)

    told = str(caught.value)
    assert settings.prefix in told
    assert f"'{LAYOUT + 1}'" in told
    assert f"layout {LAYOUT}:" in told
    assert "Install the same version" in told


async def test_data_without_a_number_is_refused(redis, settings, keys):
    await redis.hset(keys.shard, "id", "x")

    with pytest.raises(RedisUnsuitable, match="unnumbered"):
        await check_server(redis, settings)


async def test_data_of_this_layout_is_accepted(redis, settings, keys):
    await redis.hset(keys.shard, mapping={"id": "x", "layout": LAYOUT})

    await check_server(redis, settings)
