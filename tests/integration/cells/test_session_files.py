"""session.files: a service writes files into a session's directory and reads them."""

import asyncio
import os

import pytest

import skep
from skep_shared.signing import SEAL

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


async def test_an_uploaded_file_can_be_used_by_cells_listed_and_read(session, tmp_path):
    large = os.urandom(3_000_000)
    (tmp_path / "local").write_bytes(large)
    await session.files.put("data/large.bin", tmp_path / "local")
    await session.files.put("empty", b"")
    await session.files.put("text.txt", "héllo".encode())

    assert (await session.run("open('text.txt').read(), __import__('os').path.getsize('data/large.bin')")).value == (
        "héllo", 3_000_000,
    )  # fmt: skip
    listed = await session.files.list()
    assert [(each.path, each.bytes) for each in listed] == [
        ("data/large.bin", 3_000_000),
        ("empty", 0),
        ("text.txt", 6),
    ]
    assert await session.files.get("data/large.bin") == large
    assert await session.files.get("empty") == b""


@pytest.mark.parametrize("bytes_after", [0, 33, 2 * MIB])
async def test_a_file_may_begin_like_something_that_is_signed(session, bytes_after):
    data = SEAL + b"d" * bytes_after
    await session.files.put("f", data)
    assert await session.files.get("f") == data


async def test_an_uploaded_file_outlives_the_process_and_binds_no_name(session):
    await session.files.put("f", b"kept")
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED

    assert await session.files.get("f") == b"kept"
    assert await session.variables() == []


async def test_a_file_is_replaced_whole_and_removed(session):
    await session.files.put("f", b"a" * 2_000_000)
    await session.files.put("f", b"b")
    assert await session.files.get("f") == b"b"
    await session.files.put("d/e/f", b"c")
    await session.files.remove("d")
    await session.files.remove("f")

    assert await session.files.list() == []


async def test_files_are_read_while_a_cell_runs(session, gate, first_output):
    cell = await session.submit(f"open('f', 'w').write('now'); print('ready')\n{gate.wait};")
    await first_output(cell)

    assert await session.files.get("f") == b"now"
    gate.open()
    assert (await cell.outcome()).ok


async def test_a_missing_file_is_reported(session):
    await session.run("1")
    with pytest.raises(skep.NotFound, match="there is no file 'f'"):
        await session.files.get("f")
    with pytest.raises(skep.CellFailed, match="FileNotFoundError"):
        await session.files.remove("f")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../f", "a/../../f", "a//b", ".", "a\0b", "x" * 4001, 7])
async def test_paths_that_lead_elsewhere_are_refused(session, path):
    for call in (session.files.put(path, b""), session.files.get(path), session.files.remove(path)):
        with pytest.raises(skep.InvalidArgument, match="path"):
            await call
    with pytest.raises(skep.NotFound):
        await session.info()  # nothing was written


async def test_data_that_is_no_bytes_is_refused(session):
    with pytest.raises(skep.InvalidArgument, match="data"):
        await session.files.put("f", "text")


async def test_an_upload_is_no_cell(session):
    await session.files.put("before", b"1")
    assert (await session.run("open('before').read()")).value == "1"
    await session.files.put("after", b"2" * 3_000_000)

    assert [fold.code for fold in await session.transcript()] == ["open('before').read()"]
    assert (await session.info()).seq == 1
    kinds = [event.kind async for event in session.events()]
    assert (kinds.count("cell.queued"), kinds.count("warning"), kinds.count("checkpoint.partial")) == (1, 0, 0)


async def test_a_file_uploaded_before_the_first_cell_is_there_for_the_next_owner(session):
    await session.files.put("a/b/f", b"kept")
    await session.files.put("a/g", b"too")
    await session.hibernate()

    assert [each.path for each in await session.files.list()] == ["a/b/f", "a/g"]
    assert (await session.run("x = 1; open('a/b/f').read()")).value == "kept"
    await session.hibernate()
    assert (await session.run("x, open('a/g').read()")).value == (1, "too")


async def test_a_file_uploaded_while_a_cell_runs_outlives_its_worker(shard, start_worker, gate, first_output):
    first = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    cell = await session.submit(
        f"import os\nprint('runs', flush=True)\n{gate.wait}\nx, open('d/f').read(), os.listdir()"
    )
    await first_output(cell)
    await session.files.put("d/f", b"now")
    assert await session.files.get("d/f") == b"now"
    await start_worker()
    await first.kill()
    gate.open(2)

    outcome = await cell.outcome()
    assert (outcome.attempt, outcome.value) == (2, (1, "now", ["d"]))


async def test_a_running_cell_sees_the_file_and_its_checkpoint_has_it(session, gate, first_output):
    cell = await session.submit(f"print('runs', flush=True)\n{gate.wait}\ny = open('f').read(); y")
    await first_output(cell)
    await session.files.put("f", b"now")
    gate.open()

    assert (await cell.outcome()).value == "now"
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    assert (await session.run("y, open('f').read()")).value == ("now", "now")


async def test_a_snapshot_begun_before_the_upload_has_the_file_too(session):
    for number in range(5):
        cells = [await session.submit(f"big = bytearray(30_000_000 + {number}); i = {i}") for i in range(3)]
        await session.files.put("f", str(number).encode())
        for cell in cells:
            assert (await cell.outcome()).ok
        assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
        assert await session.files.get("f") == str(number).encode()


async def test_uploads_displace_no_checkpoint(shard, start_worker):
    await start_worker("--keep-checkpoints", "3")
    session = shard.session("s")
    for number in range(1, 6):
        await session.run(f"x = {number}")
    for number in range(10):
        await session.files.put("f", b"%d" % number)
    await session.run("y = 1")
    await session.files.put("f", b"last")
    await session.hibernate()  # pruning is done with

    ids = [checkpoint.id async for checkpoint in session.checkpoints()]
    assert ids == ["4-0", "5-0", "5-10", "6-0", "6-1"]
    await session.rollback("5-10")
    assert (await session.run("x, open('f').read(), 'y' in globals()")).value == (5, "9", False)


async def test_a_fork_has_the_uploaded_files(session):
    await session.run("x = 1")
    await session.files.put("f", b"kept")
    fork = await session.fork(f"{session.id}-fork")

    assert (await fork.run("x, open('f').read()")).value == (1, "kept")


async def test_a_live_fork_has_the_uploaded_files(session):
    await session.run("x = 1")
    await session.files.put("f", b"kept")
    fork = await session.fork(f"{session.id}-fork")

    assert (await fork.run("x, open('f').read()")).value == (1, "kept")
    restored = [event async for event in fork.events() if event.kind == "session.restored"]
    assert [event.is_live for event in restored] == [True]


@pytest.fixture
async def small(shard, start_worker):
    """A session with room for a million bytes of files."""
    await start_worker("--workspace-quota-bytes", "1000000")
    return shard.session("s")


async def test_a_file_over_the_quota_is_refused_and_leaves_nothing(small):
    await small.files.put("d/f", b"a" * 600_000)
    for data in (b"b" * 500_000, b"b" * 40_000_000):
        with pytest.raises(skep.OperationFailed, match=r"the quota of 1000000 bytes has 400000 left"):
            await small.files.put("e/g", data)
    await small.files.put("d/f", b"c" * 1_000_000)  # there is room for it in place of the old one
    with pytest.raises(skep.OperationFailed, match="quota"):
        await small.files.put("d/f", b"d" * 1_000_001)

    there = (await small.run("import os\nsorted(os.listdir()), os.path.getsize('d/f')")).value
    assert there == (["d"], 1_000_000)
    await small.hibernate()
    assert (await small.files.get("d/f")) == b"c" * 1_000_000
    assert [each.path for each in await small.files.list()] == ["d/f"]


async def test_files_that_are_not_saved_are_reported_once_in_the_cell_that_wrote_them(small):
    many = "for i in range(40): open(f'f{i:02}', 'w').write('x' * 500_000)"
    outcome = await small.run(many)

    (warning,) = outcome.warnings
    assert "./f02: it has 500000 bytes, the quota of 1000000 bytes has 0 left" in warning
    assert "and 33 more files" in warning
    assert (await small.run("x = 1")).warnings == ()
    assert (await small.run("x")).warnings == ()
    (warning,) = (await small.run("open('f02', 'a').write('y');")).warnings
    assert warning == "not saved with the session: ./f02: it has 500001 bytes, the quota of 1000000 bytes has 0 left"
    assert (await small.run("import os\nfor i in range(2, 40): os.remove(f'f{i:02}')")).warnings == ()


@pytest.mark.parametrize(
    ("before", "path", "reason"),
    [
        ("os.mkdir('d')", "d", "is a directory"),
        ("open('f', 'w').close()", "f/g", "NotADirectoryError|FileExistsError"),
        ("os.symlink('/tmp', 'l')", "l/skep-test", "leads from"),
    ],
)
async def test_a_path_where_no_file_can_be_is_refused(session, before, path, reason):
    await session.run(f"import os\n{before}\nopen('kept', 'w').write('1');")
    with pytest.raises(skep.OperationFailed, match=reason):
        await session.files.put(path, b"data")

    assert "kept" in [each.path for each in await session.files.list()]
    assert not [name for name in (await session.run("os.listdir()")).value if name.startswith(".")]


async def test_an_upload_continues_when_its_worker_dies(shard, start_worker, monkeypatch):
    first = await start_worker()
    session = shard.session("s")
    await session.run("x = 1")
    await start_worker()
    store, pieces = session.files._store, 0

    async def kill_at_the_fifth(key, data):
        nonlocal pieces
        pieces += 1
        if pieces == 5:
            await first.kill()
        await store(key, data)

    monkeypatch.setattr(session.files, "_store", kill_at_the_fifth)
    data = os.urandom(9_000_000)
    await session.files.put("f", data)

    assert await session.files.get("f") == data
    assert pieces > 9


async def test_many_files_are_uploaded_at_once(session):
    await asyncio.gather(*(session.files.put(f"d{number % 3}/f{number}", b"%d" % number) for number in range(60)))
    await session.hibernate()

    assert {each.path for each in await session.files.list()} == {f"d{number % 3}/f{number}" for number in range(60)}


async def test_a_name_that_is_too_long_or_no_text_is_refused(session):
    for path in ("x" * 256, "a/\ud800"):
        with pytest.raises(skep.InvalidArgument, match="path"):
            await session.files.put(path, b"")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({}, "no piece of a file"),
        (7, "no piece of a file"),
        ({"upload": "a", "path": "f", "offset": 2, "bytes": 1, "size": 1}, "no piece of a file"),
        ({"upload": "../a", "path": "f", "offset": 0, "bytes": 1, "size": 1}, "no piece of a file"),
        (
            {"upload": "a", "path": "a/../f", "offset": 0, "bytes": 1, "size": 1},
            "a checkpoint can.t have a file with the path",
        ),
        ({"upload": "b", "path": "f", "offset": 0, "bytes": 1, "size": 1}, "is not in Redis any more"),
    ],
    ids=["empty", "number", "beyond", "upload", "path", "gone"],
)
async def test_a_malformed_piece_is_refused_and_the_session_lives_on(session, question, reason):
    await session.run("x = 1")
    await session._link.redis.set(session._link.keys.upload("a:0"), b"1")
    with pytest.raises(skep.OperationFailed, match=reason):
        await session._operate("files.put", question)

    assert (await session.run("x")).value == 1
    assert await session.files.list() == []


async def test_a_request_that_is_repeated_reads_its_own_piece_and_changes_nothing(session):
    """A client repeats a request after a change of owners; the worker may then handle both, even after later pieces."""
    await session.run("x = 1")
    pieces = [b"a" * MIB, b"b" * MIB, b"c"]
    keys = [session._link.keys.upload(f"u:{number * MIB}") for number in range(3)]

    async def send(number):
        question = {"upload": "u", "path": "f", "offset": number * MIB, "bytes": 2 * MIB + 1}
        return await session._operate("files.put", question | {"size": len(pieces[number])})

    for key, piece in zip(keys, pieces, strict=True):
        await session._link.redis.set(key, piece)
    assert [await send(0), await send(0)] == [MIB, MIB]
    assert [await send(1), await send(1)] == [2 * MIB, 2 * MIB]
    assert await send(0) == "again"
    assert await send(2) == 2 * MIB + 1
    assert await session.files.get("f") == b"".join(pieces)
