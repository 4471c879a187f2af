"""The same with objects on an S3-compatible server, if SKEP_TEST_S3_ENDPOINT=http://127.0.0.1:5000 names one.

For example `pip install 'moto[server]'` in an environment of its own, and `moto_server -p 5000`.
"""

import os
import secrets
import urllib.request

import pytest

from skep_shared.chunks.blobs import Folder, ObjectBlobs, StoredName
from skep_shared.errors import StoreUnavailable
from skep_workers.host.maintenance.store import remove_purged

ENDPOINT = os.environ.get("SKEP_TEST_S3_ENDPOINT", "")

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not ENDPOINT, reason="SKEP_TEST_S3_ENDPOINT names no server")]

FOLDER = Folder("a.b@c=d~e+f", 1_700_000_000_000)
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def url(monkeypatch):
    """A new bucket, with a prefix."""
    given = {
        "ENDPOINT": ENDPOINT, "REGION": "us-east-1", "ACCESS_KEY_ID": "any",
        "SECRET_ACCESS_KEY": "any",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = f"b-{secrets.token_hex(6)}"
    urllib.request.urlopen(urllib.request.Request(f"{ENDPOINT}/{bucket}", method="PUT")).close()  # noqa: S310
    return f"s3://{bucket}/some/prefix"


async def test_chunks_are_stored_read_and_removed(url):
    store = ObjectBlobs(url, 20)
    await store.check("w1")
    many = [(StoredName(b"%d" % number, 1), b"%d" % number) for number in range(450)]
    await store.store_chunks(FOLDER, many)

    assert set(await store.list_chunks(FOLDER)) == {name for name, _ in many}
    missing = StoredName(b"1", 2)
    assert await store.read_chunks(FOLDER, [missing, many[7][0], many[3][0]]) == [None, b"7", b"3"]
    await store.remove_chunks(FOLDER, [many[7][0], missing])
    assert await store.read_chunks(FOLDER, [many[7][0], many[8][0]]) == [None, b"8"]
    await store.store_chunks(Folder(FOLDER.session_id, 5), many[:1])
    await store.remove_folder(FOLDER)
    assert await store.read_chunks(FOLDER, [name for name, _ in many]) == [None] * 450
    assert await store.read_chunks(Folder(FOLDER.session_id, 5), [many[0][0]]) == [b"0"]


async def test_a_missing_bucket_is_reported(url):
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await ObjectBlobs("s3://nowhere/x", 20).check("w1")


async def test_sessions_live_forks_read_and_a_purge_empties_it(url, shard, start_worker):
    await start_worker("--checkpoint-store", url)
    origin = shard.session("origin")
    await origin.run("import os\nbig = os.urandom(3_000_000); total = sum(big)")
    fork = await origin.fork("fork")
    await origin.run(KILL)
    assert (await origin.run("sum(big) == total")).value is True
    await origin.close(purge=True)
    assert (await fork.run("sum(big) == total")).value is True
    await fork.close(purge=True)

    redis, keys, store = shard._link.redis, shard._link.keys, ObjectBlobs(url, 20)
    assert await redis.scard(keys.purged) == 2
    assert await remove_purged(redis, keys, store) == 2
    listed = [entry async for page in store._store.list() for entry in page]
    assert listed == []
