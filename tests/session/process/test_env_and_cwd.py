"""The environment variables and the working directory of a session's options, in its process."""

import pytest

pytestmark = pytest.mark.anyio


async def test_the_variables_are_set_before_the_first_cell(start_session):
    session = await start_session(env={"APP_TOKEN": "é = 1\n"})

    assert await session.value("import os; os.environ['APP_TOKEN']") == "é = 1\n"


async def test_programs_that_cells_start_have_the_variables(start_session):
    session = await start_session(env={"APP_TOKEN": "abc"})

    code = "import subprocess, sys; subprocess.check_output([sys.executable, '-c', {!r}], text=True)"
    assert await session.value(code.format("import os; print(os.environ['APP_TOKEN'], end='')")) == "abc"


async def test_another_session_of_the_same_zygote_does_not_have_them(start_session):
    await start_session(env={"APP_TOKEN": "abc"})
    other = await start_session()

    assert await other.value("import os; 'APP_TOKEN' in os.environ") is False


async def test_a_time_zone_among_the_variables_applies(start_session):
    session = await start_session(env={"TZ": "Asia/Kolkata"})

    assert await session.value("import time; time.localtime(0).tm_gmtoff") == 19_800


async def test_cells_begin_in_the_directory_which_is_created(start_session, tmp_path):
    session = await start_session(cwd="work/näme")

    assert await session.value("import os; os.getcwd()") == str(tmp_path / "work/näme")
    await session.run("open('a', 'w').close()")
    assert (tmp_path / "work/näme/a").exists()


async def test_modules_in_the_directory_can_be_imported_also_by_spawned_processes(start_session):
    session = await start_session(cwd="work")
    await session.run("open('helper_of_this_test.py', 'w').write('def double(x): return 2 * x')")
    await session.run("import helper_of_this_test, multiprocessing")

    code = (
        "with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(helper_of_this_test.double, [21]))"
    )
    assert await session.text(code) == "[42]\n"


async def test_files_of_a_service_are_named_from_the_session_s_directory(start_session):
    session = await start_session(cwd="work")
    await session.run("open('a', 'w').close()")

    assert [found["path"] for found in await session.ask("files.list")] == ["work/a"]


async def test_without_these_options_a_session_begins_in_its_own_directory(session, tmp_path):
    assert await session.value("import os; os.getcwd()") == str(tmp_path)
