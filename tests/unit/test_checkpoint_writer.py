"""Snapshots on their way to where they are stored: what is sent when, and what a dead process sent goes nowhere."""

import asyncio

import msgpack
import pytest

from skep_shared.errors import RedisFull, StoreUnavailable
from skep_shared.frames import Blob, Saved
from skep_shared.manifests import Chunk, chunks_of, read_manifest
from skep_shared.stored_form import from_stored
from skep_workers.host.checkpoints import BATCH_BYTES, CheckpointWriter
from skep_workers.host.holdings import Holdings

pytestmark = pytest.mark.anyio

MANIFEST = msgpack.packb({"blobs": [b"a", b"b"], "lost": {}})


class Places:
    """A place for chunks that answers when it is told to."""

    def __init__(self):
        self.put_names, self.answers = [], asyncio.Queue()
        self.asked = asyncio.Event()

    async def put(self, blobs):
        self.put_names += [name for name, _ in blobs]
        self.asked.set()
        error = await self.answers.get()
        if error is not None:
            raise error
        return [Chunk(name, len(data), len(data) + 1, epoch=3) for name, data in blobs]


class Line:
    """A writer at work, and what it has said."""

    def __init__(self):
        self.places, self.holdings, self.saved, self.failures = Places(), Holdings(), [], 0
        self.writer = CheckpointWriter(self.places, self.holdings, self.saved.append, self.on_failed, lambda: None)

    def on_failed(self):
        self.failures += 1


@pytest.fixture
async def line():
    made = Line()
    task = asyncio.create_task(made.writer.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_small_snapshot_goes_on_at_once_with_its_chunks_in_their_stored_form(line):
    line.writer.take(Saved(1, MANIFEST, {b"a": b"x", b"b": b"y" * 9000}))

    [state] = line.saved
    assert {name: from_stored(data) for name, data in state.blobs} == {b"a": b"x", b"b": b"y" * 9000}
    chunks = chunks_of(read_manifest(state.manifest))
    assert [(chunk.raw_bytes, chunk.stored_bytes, chunk.epoch) for chunk in chunks] == [
        (1, 2, 0), (9000, len(dict(state.blobs)[b"b"]), 0),
    ]  # fmt: skip


async def test_a_snapshot_waits_for_its_chunks(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.take(frame)
    await line.places.asked.wait()
    assert line.saved == []

    line.places.answers.put_nowait(None)
    await line.writer.stored()
    [state] = line.saved
    assert [(chunk.name, chunk.epoch) for chunk in chunks_of(read_manifest(state.manifest))] == [(b"a", 3), (b"b", 3)]
    assert line.writer.pending_bytes == 0


async def test_a_chunk_that_is_stored_is_not_stored_again(line):
    line.holdings.store(Chunk(b"a", 1, 2, epoch=2))
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.take(frame)
    line.places.answers.put_nowait(None)
    await line.writer.stored()

    assert line.places.put_names == [b"b"]
    assert [chunk.epoch for chunk in chunks_of(read_manifest(line.saved[0].manifest))] == [2, 3]


async def test_what_a_dead_process_sent_is_never_told_as_saved(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.take(frame)
    await line.places.asked.wait()
    line.writer.drop()
    line.writer.take(Saved(2, MANIFEST, {}))
    line.places.answers.put_nowait(None)
    await line.writer.stored()
    assert line.saved == []

    line.writer.restart()
    line.writer.take(Saved(1, b"", {}))
    assert [state.seq for state in line.saved] == [1]


async def test_a_snapshot_that_can_not_be_stored_says_why_and_none_is_taken_for_stored_that_builds_on_it(line):
    for frame in (Blob(b"a", b"x"), Blob(b"b", b"y"), Saved(1, MANIFEST, {})):
        line.writer.take(frame)
    line.places.answers.put_nowait(StoreUnavailable("file:///x", "away"))
    await line.writer.stored()
    line.writer.take(Saved(2, MANIFEST, {b"b": b"y"}))  # `a` is taken for stored there

    assert [(state.seq, state.manifest, "away" in state.failure) for state in line.saved] == [
        (1, b"", True), (2, b"", True),
    ]  # fmt: skip
    assert line.failures == 2  # the process is asked to send all of it, each time
    assert (line.writer.pending_bytes, line.holdings.needed()) == (0, set())
    assert line.holdings.take_orphans(set()) == {b"a", b"b"}  # they may be there in part

    line.writer.take(Saved(3, MANIFEST, {b"a": b"x", b"b": b"y"}))
    assert (line.saved[-1].failure, {name for name, _ in line.saved[-1].blobs}) == ("", {b"a", b"b"})


async def test_of_a_snapshot_that_failed_no_further_chunk_is_tried(line):
    large = bytes(BATCH_BYTES)
    for frame in (Blob(b"a", large), Blob(b"b", large), Saved(1, MANIFEST, {})):
        line.writer.take(frame)
    line.places.answers.put_nowait(RedisFull("maxmemory"))
    await line.writer.stored()

    assert line.places.put_names == [b"a"]
    assert [state.failure for state in line.saved] == [str(RedisFull("maxmemory"))]
    assert line.writer.pending_bytes == 0


async def test_a_snapshot_that_brings_a_chunk_being_removed_waits_and_stores_it_again(line):
    line.holdings.store(Chunk(b"a"))
    with line.holdings.removing([b"a"]):
        line.writer.take(Saved(1, MANIFEST, {b"a": b"x", b"b": b"y"}))
        await asyncio.sleep(0)
        assert line.saved == []
        line.holdings.removed([b"a"])
    await line.writer.stored()

    assert {name for name, _ in line.saved[0].blobs} == {b"a", b"b"}
