"""Snapshots on their way to storage: what is stored and reported when, and what a dead process sent is dropped."""

import asyncio

import msgpack
import pytest

from skep_shared.chunks.stored_form import from_stored, to_stored
from skep_shared.chunks.stored_manifest import Chunk
from skep_shared.errors import MalformedFrame, RedisFull, StoreUnavailable
from skep_shared.protocol.frames import Blob, Saved
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory
from skep_workers.host.checkpoint.writer import BATCH_BYTES, CheckpointWriter

pytestmark = pytest.mark.anyio

MANIFEST = msgpack.packb({"blobs": [b"a", b"b"], "lost": {}})


class Storage:
    """A storage of chunks that answers when the test says so."""

    def __init__(self):
        self.stored_names, self.answers = [], asyncio.Queue()
        self.asked = asyncio.Event()

    async def store_chunks(self, blobs):
        self.stored_names += [name for name, _ in blobs]
        self.asked.set()
        error = await self.answers.get()
        if error is not None:
            raise error
        return [Chunk(name, len(data), len(data) + 1, epoch=3) for name, data in blobs]

    def in_stored_form(self, chunks):
        return to_stored(list(chunks.values()))


class Line:
    """A running writer, and what it has reported."""

    def __init__(self):
        self.storage, self.inventory, self.saved, self.failures = Storage(), ChunkInventory(), [], 0
        self.writer = CheckpointWriter(self.storage, self.inventory, self.saved.append, self.on_failed, lambda: None)

    def on_failed(self):
        self.failures += 1


@pytest.fixture
async def line():
    made = Line()
    task = asyncio.create_task(made.writer.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_small_snapshot_is_reported_at_once_with_its_chunks_in_their_stored_form(line):
    line.writer.receive_frame(Saved(1, MANIFEST, {b"a": b"x", b"b": b"y" * 9000}))

    [state] = line.saved
    assert {name: from_stored(data) for name, data in state.blobs} == {b"a": b"x", b"b": b"y" * 9000}
    chunks = state.manifest.chunks
    assert [(chunk.raw_bytes, chunk.stored_bytes, chunk.epoch) for chunk in chunks] == [
        (1, 2, 0), (9000, len(dict(state.blobs)[b"b"]), 0),
    ]  # fmt: skip


async def test_a_snapshot_waits_for_its_chunks(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.receive_frame(frame)
    await line.storage.asked.wait()
    assert line.saved == []

    line.storage.answers.put_nowait(None)
    await line.writer.wait_until_stored()
    [state] = line.saved
    assert [(chunk.name, chunk.epoch) for chunk in state.manifest.chunks] == [(b"a", 3), (b"b", 3)]
    assert line.writer.pending_bytes == 0


async def test_a_chunk_that_is_stored_is_not_stored_again(line):
    line.inventory.record_stored(Chunk(b"a", 1, 2, epoch=2))
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.receive_frame(frame)
    line.storage.answers.put_nowait(None)
    await line.writer.wait_until_stored()

    assert line.storage.stored_names == [b"b"]
    assert [chunk.epoch for chunk in line.saved[0].manifest.chunks] == [2, 3]


async def test_a_snapshot_of_a_dead_process_is_never_reported_as_saved(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.receive_frame(frame)
    await line.storage.asked.wait()
    line.writer.discard_unstored()
    line.writer.receive_frame(Saved(2, MANIFEST, {}))
    line.storage.answers.put_nowait(None)
    await line.writer.wait_until_stored()
    assert line.saved == []

    line.writer.restart()
    line.writer.receive_frame(Saved(1, b"", {}))
    assert [state.seq for state in line.saved] == [1]


async def test_a_snapshot_that_can_not_be_stored_reports_why_and_fails_the_next_one_that_needs_its_chunks(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.receive_frame(frame)
    line.storage.answers.put_nowait(StoreUnavailable("file:///x", "away"))
    await line.writer.wait_until_stored()
    line.writer.receive_frame(Saved(2, MANIFEST, {b"b": b"y"}))  # the process assumes that `a` is stored

    assert [(state.seq, state.manifest, "away" in state.failure) for state in line.saved] == [
        (1, None, True), (2, None, True),
    ]  # fmt: skip
    assert line.failures == 2  # each time, the process is asked to send all of it
    assert (line.writer.pending_bytes, line.inventory.needed()) == (0, set())
    assert line.inventory.pop_orphans(set()) == {b"a", b"b"}  # they may be stored in part

    line.writer.receive_frame(Saved(3, MANIFEST, {b"a": b"x", b"b": b"y"}))
    assert (line.saved[-1].failure, {name for name, _ in line.saved[-1].blobs}) == ("", {b"a", b"b"})


async def test_no_further_chunk_of_a_failed_snapshot_is_stored(line):
    large = bytes(BATCH_BYTES)
    for frame in (Blob(b"a", large), Blob(b"b", large), Saved(1, MANIFEST, {})):
        line.writer.receive_frame(frame)
    line.storage.answers.put_nowait(RedisFull("maxmemory"))
    await line.writer.wait_until_stored()

    assert line.storage.stored_names == [b"a"]
    assert [state.failure for state in line.saved] == [str(RedisFull("maxmemory"))]
    assert line.writer.pending_bytes == 0


async def test_a_snapshot_that_brings_a_chunk_being_removed_waits_and_stores_it_again(line):
    line.inventory.record_stored(Chunk(b"a"))
    with line.inventory.removing([b"a"]):
        line.writer.receive_frame(Saved(1, MANIFEST, {b"a": b"x", b"b": b"y"}))
        await asyncio.sleep(0)
        assert line.saved == []
        line.inventory.record_removal([b"a"])
    await line.writer.wait_until_stored()

    assert {name for name, _ in line.saved[0].blobs} == {b"a", b"b"}


@pytest.mark.parametrize(
    "manifest",
    [
        b"\xff",
        msgpack.packb([1]),
        msgpack.packb({"blobs": b"ab", "lost": {}}),
        msgpack.packb({"blobs": [1], "lost": {}}),
        msgpack.packb({"blobs": [b"a"], "lost": [1]}),
        msgpack.packb({"blobs": [b"a"], "lost": {"x": 1}}),
        b"\x81\xa5bl\xffbs\x90",
        b"\x81\x90\x90",
        MANIFEST + b"\0",
    ],
)
async def test_bytes_that_are_no_manifest_are_the_fault_of_their_process(line, manifest):
    with pytest.raises(MalformedFrame, match="a manifest was expected"):
        line.writer.receive_frame(Saved(1, manifest, {b"a": b"x"}))

    line.writer.receive_frame(Saved(2, MANIFEST, {b"a": b"x", b"b": b"y"}))
    assert [state.seq for state in line.saved] == [2]
