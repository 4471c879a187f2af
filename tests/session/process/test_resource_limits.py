"""The limits that the kernel enforces in a session's processes."""

import pytest

pytestmark = pytest.mark.anyio


async def test_a_cell_that_opens_too_many_files_fails_and_names_the_limit(start_session):
    session = await start_session(limits={"open_files": 64})

    cell = await session.run("files = []\nwhile True: files.append(open('/dev/null'))")

    assert (cell.done.status, cell.error.ename) == ("failed", "OSError")
    assert "the session's limit open_files is 64" in cell.error.traceback
    assert [(notice.category, notice.message) for notice in cell.notices] == [
        ("limit.exceeded", "the session's limit open_files is 64")
    ]
    assert await session.value("len(files) < 64") is True


async def test_the_limit_of_open_files_can_not_be_raised_by_more_than_what_the_engine_needs(start_session):
    session = await start_session(limits={"open_files": 64})

    code = "import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (81, 81))"
    assert (await session.run(code)).done.status == "failed"


async def test_other_programs_have_the_limit_of_open_files_too(start_session):
    session = await start_session(limits={"open_files": 64})

    code = "import subprocess\nsubprocess.run('ulimit -n', shell=True, capture_output=True, text=True).stdout"
    assert await session.value(code) == "64\n"


async def test_a_cell_that_writes_too_large_a_file_fails_and_names_the_limit(start_session):
    session = await start_session(limits={"file_bytes": 64 * 1024})

    cell = await session.run("with open('large', 'wb', buffering=0) as file:\n    while True: file.write(bytes(4096))")

    assert (cell.done.status, cell.error.ename) == ("failed", "OSError")
    assert "the session's limit file_bytes is 65,536" in cell.error.traceback
    assert await session.value("__import__('os').path.getsize('large')") == 64 * 1024


async def test_the_limit_is_named_for_an_error_that_was_caused_by_it(start_session):
    session = await start_session(limits={"open_files": 64})

    cell = await session.run(
        "files = []\ntry:\n    while True: files.append(open('/dev/null'))\n"
        "except OSError as exc:\n    raise ValueError('no more') from exc"
    )

    assert cell.error.ename == "ValueError"
    assert [notice.category for notice in cell.notices] == ["limit.exceeded"]


async def test_an_error_that_no_limit_causes_names_none(start_session):
    session = await start_session(limits={"open_files": 64})

    cell = await session.run("open('/missing')")

    assert cell.notices == []


async def test_without_limits_an_error_names_none(start_session):
    session = await start_session()

    cell = await session.run("import errno\nraise OSError(errno.EMFILE, 'too many')")

    assert cell.notices == []
    assert "limit open_files" not in cell.error.traceback


async def test_a_timeout_that_is_the_sessions_limit_is_named_so(start_session):
    session = await start_session(limits={"wall_seconds": 0.2})

    cell = await session.run("while True: pass", timeout=0.2)  # the host sends the lower one of both

    assert cell.done.status == "timed_out"
    assert "its limit wall_seconds of 0.2 s" in cell.error.traceback
    assert [(notice.category, notice.message) for notice in cell.notices] == [
        ("limit.exceeded", "the session's limit wall_seconds is 0.2")
    ]


async def test_a_shorter_timeout_of_the_cell_is_its_own(start_session):
    session = await start_session(limits={"wall_seconds": 60})

    cell = await session.run("while True: pass", timeout=0.2)

    assert cell.done.status == "timed_out"
    assert "its timeout of 0.2 s" in cell.error.traceback
    assert cell.notices == []


async def test_files_beyond_the_limit_of_the_directory_are_not_saved(start_session):
    session = await start_session(limits={"workspace_bytes": 64 * 1024}, durability="commit")

    cell = await session.run("open('large', 'wb').write(bytes(100_000))")

    assert any("large" in notice.message for notice in cell.notices)
