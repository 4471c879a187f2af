"""The store of chunks, on real files: storing, reading, listing and removing, and its deadline."""

import builtins
import socket

import pytest

from skep_shared.chunks.blobs import Folder, ObjectBlobs, StoredName
from skep_shared.errors import InvalidArgument, StoreUnavailable

pytestmark = pytest.mark.anyio

FOLDER = Folder("a.b@c=d~e", 1_700_000_000_000)
ONE, TWO, OTHER_EPOCH = StoredName(b"\0one", 1), StoredName(b"\xfftwo", 1), StoredName(b"\0one", 2)


@pytest.fixture
def store(tmp_path):
    return ObjectBlobs(f"file://{tmp_path}/chunks", 10)


def files(tmp_path):
    return sorted(str(path.relative_to(tmp_path / "chunks")) for path in tmp_path.rglob("*") if path.is_file())


async def test_chunks_are_returned_in_the_requested_order(store):
    await store.store_chunks(FOLDER, [(ONE, b"1"), (TWO, b"2" * 1_000_000)])

    assert await store.read_chunks(FOLDER, [TWO, OTHER_EPOCH, ONE]) == [b"2" * 1_000_000, None, b"1"]
    assert await store.read_chunks(Folder("other", 1), [ONE]) == [None]


async def test_a_chunk_is_a_file_below_its_session_and_epoch(store, tmp_path):
    await store.store_chunks(FOLDER, [(ONE, b"1"), (OTHER_EPOCH, b"1")])

    assert files(tmp_path) == [f"{FOLDER}/{epoch}/006f6e65" for epoch in (1, 2)]


async def test_all_chunks_of_a_session_can_be_listed(store):
    await store.store_chunks(FOLDER, [(ONE, b"1"), (TWO, b"2"), (OTHER_EPOCH, b"3")])
    await store.store_chunks(Folder("other", 1), [(ONE, b"1")])

    assert set(await store.list_chunks(FOLDER)) == {ONE, TWO, OTHER_EPOCH}


async def test_storing_a_chunk_again_is_harmless(store):
    for _ in range(2):
        await store.store_chunks(FOLDER, [(ONE, b"1")])

    assert await store.read_chunks(FOLDER, [ONE]) == [b"1"]


async def test_only_named_chunks_are_removed(store):
    await store.store_chunks(FOLDER, [(ONE, b"1"), (TWO, b"2"), (OTHER_EPOCH, b"3")])
    await store.remove_chunks(FOLDER, [ONE, StoredName(b"nothing", 1)])

    assert await store.read_chunks(FOLDER, [ONE, TWO, OTHER_EPOCH]) == [None, b"2", b"3"]


async def test_all_chunks_of_a_session_are_removed_and_none_of_another(store, tmp_path):
    many = [(StoredName(b"%d" % number, 1), b"x") for number in range(450)]
    await store.store_chunks(FOLDER, many)
    later = Folder(FOLDER.session_id, FOLDER.created_at + 1)
    await store.store_chunks(later, [(ONE, b"1")])

    await store.remove_folder(FOLDER)
    await store.remove_folder(FOLDER)
    assert files(tmp_path) == [f"{later}/1/006f6e65"]


async def test_a_check_leaves_no_file_behind(store, tmp_path):
    await store.check("w1")

    assert files(tmp_path) == []


async def test_a_directory_that_can_not_be_written_raises(tmp_path):
    (tmp_path / "chunks").mkdir()
    store = ObjectBlobs(f"file://{tmp_path}/chunks", 10)
    (tmp_path / "chunks").rmdir()
    (tmp_path / "chunks").write_text("a file")

    with pytest.raises(StoreUnavailable, match=r"file://.*chunks"):
        await store.store_chunks(FOLDER, [(ONE, b"1")])
    with pytest.raises(StoreUnavailable):
        await store.check("w1")


async def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(monkeypatch):
    silent = socket.create_server(("127.0.0.1", 0))  # connections come about, and nobody accepts them
    port = silent.getsockname()[1]
    for name, value in {
        "ENDPOINT": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y",
        "REGION": "z",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    store = ObjectBlobs("s3://bucket/prefix", 0.2)
    try:
        with pytest.raises(StoreUnavailable, match=r"s3://bucket/prefix.*(no answer|timed out|error sending)"):
            await store.store_chunks(FOLDER, [(ONE, b"1")])
        with pytest.raises(StoreUnavailable):
            await store.remove_folder(FOLDER)
    finally:
        silent.close()


@pytest.mark.parametrize(
    "url",
    ["x", "memory:///", "http://host/dir", "file://relative/dir", "file:///", "s3://", "s3://key:secret@bucket/x"],
)
def test_an_unusable_url_is_refused(url):
    with pytest.raises(InvalidArgument, match="checkpoint_store") as refused:
        ObjectBlobs(url, 1)
    assert "secret" not in str(refused.value)


def test_without_obstore_the_error_says_how_to_install_it(monkeypatch):
    find = builtins.__import__

    def find_all_but_obstore(name, *rest):
        if name.startswith("obstore"):
            raise ModuleNotFoundError(name)
        return find(name, *rest)

    monkeypatch.setattr(builtins, "__import__", find_all_but_obstore)
    with pytest.raises(InvalidArgument, match=r"skep\[store\]"):
        ObjectBlobs("s3://bucket", 1)
