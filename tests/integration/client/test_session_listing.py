"""`cluster.sessions` with a filter: by labels, state and the beginning of ids, also for a tenant."""

import pytest

import skep
from skep.listings import session_listing
from skep_shared.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sessions(shard):
    """Four sessions, of which one is closed."""
    for name, labels in {
        "user-1": {"app": "x"},
        "user-2": {"app": "x"},
        "user-3": {"app": "y"},
        "job": {"app": "x"},
    }.items():
        await shard.session(name, options=skep.SessionOptions(labels=labels)).files._create()
    await shard.session("user-2").close()


async def ids(cluster, **conditions):
    """Return the ids in alphabetical order: some sessions are of the same millisecond."""
    return sorted([info.id async for info in cluster.sessions(**conditions)])


async def test_the_conditions_hold_together(shard, sessions):
    assert await ids(shard) == ["job", "user-1", "user-2", "user-3"]
    assert await ids(shard, labels={"app": "x"}) == ["job", "user-1", "user-2"]
    assert await ids(shard, labels={"app": "x"}, state="open", prefix="user-") == ["user-1"]
    assert await ids(shard, state=skep.SessionState.CLOSED) == ["user-2"]
    assert await ids(shard, labels={}, prefix="") == await ids(shard)


async def test_many_pages_are_read(shard, sessions, monkeypatch):
    monkeypatch.setattr(session_listing, "PAGE_SESSIONS", 1)
    monkeypatch.setattr(session_listing, "READ_SESSIONS", 1)

    assert await ids(shard) == ["job", "user-1", "user-2", "user-3"]
    assert await ids(shard, prefix="job") == ["job"]


async def test_labels_that_were_updated_count(shard, sessions):
    await shard.session("user-3").update(skep.SessionOptions(labels={"app": "z"}))

    assert await ids(shard, labels={"app": "y"}) == []
    [info] = [info async for info in shard.sessions(labels={"app": "z"})]
    assert (info.id, info.labels) == ("user-3", {"app": "z"})


async def test_a_tenant_finds_its_own(shard, sessions):
    settings = Settings.load(redis_url=shard.settings.redis_url, prefix=shard.settings.prefix, tenant="acme")
    async with skep.connect(settings=settings) as acme:
        await acme.session("user-9", options=skep.SessionOptions(labels={"app": "x"})).files._create()

        assert await ids(acme, prefix="user-", labels={"app": "x"}) == ["user-9"]
        assert await ids(shard, prefix="acme/user-") == ["acme/user-9"]
        assert await ids(shard, labels={"app": "x"}, prefix="user-") == ["user-1", "user-2"]
        with pytest.raises(skep.InvalidArgument) as caught:
            acme.sessions(prefix="acme/user-")
        assert caught.value.field == "prefix"


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"state": "asleep"}, "state"),
        ({"state": 7}, "state"),
        ({"state": []}, "state"),
        ({"labels": ["app"]}, "labels"),
        ({"labels": {"app": 1}}, "labels"),
        ({"labels": {str(number): "x" for number in range(33)}}, "labels"),
        ({"prefix": 7}, "prefix"),
        ({"prefix": "user*"}, "prefix"),
        ({"prefix": "a/b/c"}, "prefix"),
        ({"prefix": "/a"}, "prefix"),
        ({"prefix": "x" * 252}, "prefix"),
    ],
)
async def test_a_bad_condition_is_refused_at_once(shard, conditions, field):
    with pytest.raises(skep.InvalidArgument) as caught:
        shard.sessions(**conditions)

    assert caught.value.field == field
