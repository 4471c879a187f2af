"""Chunks on their way: needed before any manifest names them, and not stored while they are being removed."""

import asyncio

import pytest

from skep_shared.chunks.stored_manifest import Chunk
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory

pytestmark = pytest.mark.anyio


async def test_a_chunk_is_needed_from_its_arrival_to_its_commit():
    inventory = ChunkInventory()
    inventory.expect(b"a")
    assert inventory.needed() == {b"a"}

    inventory.add_snapshot(3, [b"a", b"b"])
    inventory.record_commit(2, [])
    assert inventory.needed() == {b"a", b"b"}

    inventory.record_commit(3, [Chunk(b"a"), Chunk(b"b")])
    assert inventory.needed() == set()
    assert inventory.is_stored(b"b")


async def test_a_chunk_in_a_commit_is_not_stored_before_the_commit():
    inventory = ChunkInventory()
    inventory.record_in_commit(Chunk(b"a", 5, 6))

    assert not inventory.is_stored(b"a")
    assert inventory.find(b"a") == Chunk(b"a", 5, 6)


async def test_a_snapshot_waits_for_the_removal_of_a_chunk_that_it_brings_again():
    inventory = ChunkInventory()
    inventory.record_stored(Chunk(b"a"))
    with inventory.removing([b"a"]):
        assert not inventory.is_stored(b"a")
        await inventory.wait_for_removal([b"b"])
        waiting = asyncio.create_task(inventory.wait_for_removal([b"a", b"b"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        inventory.record_removal([b"a"])
    await waiting

    assert not inventory.is_stored(b"a")


async def test_a_chunk_whose_removal_did_not_happen_is_still_stored():
    inventory = ChunkInventory()
    inventory.record_stored(Chunk(b"a"))
    with inventory.removing([b"a"]):
        pass

    assert inventory.is_stored(b"a")


async def test_chunks_of_the_next_snapshot_may_arrive_before_the_last_one_is_committed():
    inventory = ChunkInventory()
    inventory.expect(b"a")
    inventory.expect(b"next")
    inventory.add_snapshot(1, [b"a"])
    inventory.record_commit(1, [Chunk(b"a")])

    assert inventory.needed() == {b"next"}


async def test_a_chunk_that_no_manifest_and_no_snapshot_names_is_returned_as_an_orphan_once():
    inventory = ChunkInventory()
    for chunk in (Chunk(b"named"), Chunk(b"arriving"), Chunk(b"origin's", home=1), Chunk(b"left")):
        inventory.record_stored(chunk)
    assert inventory.pop_orphans({b"named"}) == set()

    inventory.forget_arriving()
    inventory.expect(b"arriving")
    assert inventory.pop_orphans({b"named"}) == {b"left"}
    assert inventory.pop_orphans({b"named"}) == set()
    inventory.add_leftovers([Chunk(b"found")])
    assert inventory.pop_orphans({b"named", b"left"}) == {b"found"}


async def test_each_of_several_snapshots_of_one_cell_is_needed_until_it_is_committed():
    inventory = ChunkInventory()
    inventory.add_snapshot(3, [b"a"])
    inventory.add_snapshot(3, [b"b"])

    inventory.record_commit(3, [Chunk(b"a")])
    assert inventory.needed() == {b"b"}
    inventory.record_commit(3, [Chunk(b"b")])
    assert inventory.needed() == set()
