"""session.files: what a service puts into a session's directory and takes out of it."""

import os

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


async def test_what_was_put_can_be_used_by_cells_listed_and_read(session, tmp_path):
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


async def test_what_was_put_outlives_the_process_and_leaves_no_name(session):
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


async def test_what_is_not_there_is_told(session):
    await session.run("1")
    with pytest.raises(skep.NotFound, match="no file 'f' is known here"):
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
