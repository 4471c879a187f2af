"""Chunks on their way: needed before any manifest says so, and not there while they are being removed."""

import asyncio

import pytest

from skep_shared.manifests import Chunk
from skep_workers.host.holdings import Holdings

pytestmark = pytest.mark.anyio


async def test_a_chunk_is_needed_from_its_coming_to_its_commit():
    holdings = Holdings()
    holdings.expect(b"a")
    assert holdings.needed() == {b"a"}

    holdings.snapshot(3, [b"a", b"b"])
    holdings.commit(2, [])
    assert holdings.needed() == {b"a", b"b"}

    holdings.commit(3, [Chunk(b"a"), Chunk(b"b")])
    assert holdings.needed() == set()
    assert holdings.is_stored(b"b")


async def test_what_rides_in_a_commit_is_not_stored_before():
    holdings = Holdings()
    holdings.ride(Chunk(b"a", 5, 6))

    assert not holdings.is_stored(b"a")
    assert holdings.find(b"a") == Chunk(b"a", 5, 6)


async def test_a_snapshot_waits_for_the_removal_of_a_chunk_that_it_brings_again():
    holdings = Holdings()
    holdings.store(Chunk(b"a"))
    with holdings.removing([b"a"]):
        assert not holdings.is_stored(b"a")
        await holdings.settled([b"b"])
        waiting = asyncio.create_task(holdings.settled([b"a", b"b"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        holdings.removed([b"a"])
    await waiting

    assert not holdings.is_stored(b"a")


async def test_what_was_not_removed_after_all_is_still_there():
    holdings = Holdings()
    holdings.store(Chunk(b"a"))
    with holdings.removing([b"a"]):
        pass

    assert holdings.is_stored(b"a")


async def test_the_next_snapshot_may_begin_to_come_before_the_last_one_is_taken():
    holdings = Holdings()
    holdings.expect(b"a")
    holdings.expect(b"next")
    holdings.snapshot(1, [b"a"])
    holdings.commit(1, [Chunk(b"a")])

    assert holdings.needed() == {b"next"}


async def test_what_no_manifest_and_no_snapshot_names_is_an_orphan_once():
    holdings = Holdings()
    for chunk in (Chunk(b"named"), Chunk(b"arriving"), Chunk(b"origin's", home=1), Chunk(b"left")):
        holdings.store(chunk)
    assert holdings.take_orphans({b"named"}) == set()

    holdings.abandon()
    holdings.expect(b"arriving")
    assert holdings.take_orphans({b"named"}) == {b"left"}
    assert holdings.take_orphans({b"named"}) == set()
    holdings.find_left([Chunk(b"found")])
    assert holdings.take_orphans({b"named", b"left"}) == {b"found"}


async def test_each_of_several_snapshots_of_one_cell_is_needed_until_it_is_committed():
    holdings = Holdings()
    holdings.snapshot(3, [b"a"])
    holdings.snapshot(3, [b"b"])

    holdings.commit(3, [Chunk(b"a")])
    assert holdings.needed() == {b"b"}
    holdings.commit(3, [Chunk(b"b")])
    assert holdings.needed() == set()
