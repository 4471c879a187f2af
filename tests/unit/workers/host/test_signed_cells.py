"""Cells and chunks that a worker reads with a key, and without one: refused ones are named, and nothing else raises."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import SubmittedCell
from skep_shared.broker.script_replies import Claim
from skep_shared.chunks.stored_form import DamagedChunk, from_stored
from skep_shared.chunks.stored_manifest import Chunk
from skep_shared.models import CellSpec
from skep_shared.signing import SEAL, Signer
from skep_workers.host.checkpoint.chunk_storage import ChunkStorage
from skep_workers.host.residency.cells.intake import CellIntake

SIGNER = Signer(["key-of-the-shard-0123456789abcdef0123"], "t")
BODY = CellSpec(code="1 + 1", labels={"a": "b"}).pack()


def arrived(body, signer=SIGNER, session_id="s", cell_id="c"):
    """Return the cell as it waits to run after it has arrived with this body."""
    intake = CellIntake(None, Keys("t"), session_id, after=0, on_cells=lambda: None, signer=signer)
    intake.offer(SubmittedCell(session_id, 1, cell_id, body, 0.0))
    [cell] = intake.waiting
    return cell


def test_a_signed_cell_may_run():
    cell = arrived(SIGNER.seal("cell", "s", "c", BODY))

    assert (cell.spec.code, cell.fault) == ("1 + 1", "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BODY, "it is not signed"),
        (SIGNER.seal("cell", "other", "c", BODY), "its signature is not by a key"),
        (SIGNER.seal("cell", "s", "d", BODY), "its signature is not by a key"),
        (SIGNER.seal("manifest", "s", "c", BODY), "its signature is not by a key"),
    ],
    ids=["unsigned", "another session", "another cell", "another kind"],
)
def test_another_cell_is_refused_and_its_code_is_not_read(body, words):
    cell = arrived(body)

    assert (cell.spec.code, cell.fault_name) == ("", "SignatureRefused")
    assert words in cell.fault


def test_a_worker_without_a_key_runs_both():
    assert arrived(BODY, signer=None).spec.code == "1 + 1"
    assert arrived(SIGNER.seal("cell", "s", "c", BODY), signer=None).spec.code == "1 + 1"


@given(st.binary(max_size=80), st.booleans())
def test_arbitrary_bytes_never_run_and_never_raise(body, has_key):
    cell = arrived(body, SIGNER if has_key else None)

    assert cell.fault
    assert cell.fault_name == ("SignatureRefused" if has_key else "CellUnreadable")


@given(st.integers(0, 5))
def test_seals_around_seals_are_no_cell(depth):
    body = BODY
    for _ in range(depth + 2):
        body = SEAL + bytes(32) + body

    assert arrived(body, signer=None).fault_name == "CellUnreadable"


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_chunk_or_damaged(stored):
    for each in (stored, SEAL + bytes(32) + stored, (SEAL + bytes(32)) * 50 + stored):
        try:
            from_stored(each)
        except DamagedChunk:
            continue


class Blobs:
    """A store of chunks in memory."""

    def __init__(self):
        self.data = {}

    async def store_chunks(self, folder, blobs):
        self.data |= {(folder.session_id, stored.name): data for stored, data in blobs}

    async def read_chunks(self, folder, names):
        return [self.data.get((folder.session_id, stored.name)) for stored in names]


def storage_of(blobs, session_id="s", signer=SIGNER):
    claim = Claim(session_id, "token", 1, 0, 0, 0, 0, "", False, b"", 0)
    return ChunkStorage(blobs, None, claim, 1.0, signer)


@pytest.mark.anyio
async def test_chunks_are_read_only_as_they_were_stored():
    blobs = Blobs()
    chunks = await storage_of(blobs).store_chunks([(b"a", b"x" * 9000), (b"b", b"y")])

    assert await storage_of(blobs).read_chunks(chunks) == [b"x" * 9000, b"y"]
    assert await storage_of(blobs, signer=None).read_chunks(chunks) == [b"x" * 9000, b"y"]
    assert [len(data) for data in blobs.data.values()] == [chunk.stored_bytes for chunk in chunks]
    blobs.data["s", b"a"], blobs.data["t", b"b"] = blobs.data["s", b"b"], blobs.data["s", b"b"]
    assert await storage_of(blobs).read_chunks(chunks) == [None, b"y"]
    assert await storage_of(blobs, "t").read_chunks([Chunk(b"b")]) == [None]
    blobs.data["s", b"b"] = storage_of(blobs, signer=None).in_stored_form({b"b": b"y"})[0]
    assert await storage_of(blobs).read_chunks(chunks) == [None, None]
    assert storage_of(blobs).in_stored_form({b"b": b"y"}) == [SIGNER.seal("chunk", "s", b"b", b"\0y")]


def test_a_body_that_is_signed_and_no_cell_is_unreadable():
    cell = arrived(SIGNER.seal("cell", "s", "c", msgpack.packb([1])))

    assert cell.fault_name == "CellUnreadable"
