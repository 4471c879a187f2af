"""list.lua: finds sessions a page at a time, and leaves none out."""

import pytest

from skep_shared.broker.keys import Keys
from skep_shared.broker.listing_scripts import ListingScripts
from skep_shared.models import SessionOptions

pytestmark = pytest.mark.anyio


@pytest.fixture
def listing(shard):
    return ListingScripts(shard.redis, shard.keys)


async def make(shard, *names, at=None, **options):
    """Create sessions, all at this time if one is given."""
    for name in names:
        await shard.scripts.open(name, SessionOptions(**options).pack())
        if at is not None:
            await shard.redis.zadd(shard.keys.sessions, {name: at})


async def found(listing, page=100, **conditions):
    """Return the sessions of all pages, and how many pages there are."""
    conditions.setdefault("labels", {})
    names, after, pages = [], "-inf", 0
    while after:
        result = await listing.find(after=after, page=page, **conditions)
        names += result.full_ids
        after, pages = result.after, pages + 1
    return names, pages


async def test_an_empty_shard_has_none(listing):
    assert await found(listing) == ([], 1)


@pytest.mark.parametrize("page", [1, 2, 3, 5, 6])
async def test_every_session_is_found_once_the_oldest_first(shard, listing, page):
    for number in range(5):
        await make(shard, f"s{number}", at=1000 + number)

    names, pages = await found(listing, page=page)
    assert names == [f"s{number}" for number in range(5)]
    assert pages == 5 // page + 1


@pytest.mark.parametrize("page", [1, 2, 3, 4, 7, 8])
async def test_sessions_of_the_same_millisecond_are_on_one_page(shard, listing, page):
    await make(shard, "first", at=1)
    await make(shard, "a", "b", "c", "d", at=2)
    await make(shard, "e", "f", at=3)

    assert (await found(listing, page=page))[0] == ["first", "a", "b", "c", "d", "e", "f"]


async def test_none_is_left_out_when_others_are_removed_between_two_pages(shard, listing):
    for number in range(6):
        await make(shard, f"s{number}", at=1000 + number)

    first = await listing.find(page=3, labels={})
    await shard.redis.zrem(shard.keys.sessions, "s0", "s2")
    rest = await listing.find(after=first.after, page=10, labels={})
    assert rest.full_ids == ("s3", "s4", "s5")


async def test_the_conditions_hold_together(shard, listing):
    await make(shard, "user-1", at=1, labels={"app": "x", "env": "prod"})
    await make(shard, "user-2", at=2, labels={"app": "y"})
    await make(shard, "user-3", at=3)
    await make(shard, "job-1", at=4, labels={"app": "x"})
    await shard.scripts.close("user-2")

    assert (await found(listing, labels={"app": "x"}))[0] == ["user-1", "job-1"]
    assert (await found(listing, labels={"app": "x", "env": "prod"}))[0] == ["user-1"]
    assert (await found(listing, labels={"app": "x"}, prefix="user-"))[0] == ["user-1"]
    assert (await found(listing, state="closed"))[0] == ["user-2"]
    assert (await found(listing, state="open", prefix="user-"))[0] == ["user-1", "user-3"]


async def test_a_prefix_is_no_pattern(shard, listing):
    await make(shard, "a.b", "axb")

    assert (await found(listing, prefix="a."))[0] == ["a.b"]


async def test_a_page_without_a_match_is_not_the_last_one(shard, listing):
    for number in range(4):
        await make(shard, f"s{number}", at=1000 + number)
    await make(shard, "wanted", at=2000)

    assert await found(listing, page=2, prefix="wanted") == (["wanted"], 3)


async def test_options_that_can_not_be_read_have_no_label(shard, listing):
    await shard.submit("a")  # its options are the text "options"
    await shard.redis.hset(shard.keys.session("s"), "options", b"labels")

    assert (await found(listing, labels={"app": "x"}))[0] == []
    assert (await found(listing))[0] == ["s"]


async def test_an_entry_of_the_index_without_a_session_matches_no_condition(shard, listing):
    await shard.redis.zadd(shard.keys.sessions, {"gone": 1})

    assert (await found(listing, state="open"))[0] == []


async def test_a_tenant_finds_its_own_sessions_only(shard):
    await make(shard, "acme/user-1", "other/user-2", "user-3")

    listing = ListingScripts(shard.redis, Keys(shard.keys.prefix, "acme/"))
    assert (await found(listing))[0] == ["acme/user-1"]
    assert (await found(listing, prefix="user-"))[0] == ["acme/user-1"]
    assert (await found(listing, prefix="acme/"))[0] == []


async def test_a_search_writes_nothing(shard, listing):
    await make(shard, "a", labels={"app": "x"})
    before = await shard.dump()
    await found(listing, state="open", labels={"app": "x"})

    assert await shard.dump() == before


async def test_the_script_outlives_the_servers_script_cache(shard, listing):
    await make(shard, "a")
    await shard.redis.script_flush()

    assert (await found(listing))[0] == ["a"]
