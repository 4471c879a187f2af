"""Packages that cells install: for their session alone, importable at once, in programs that cells start too."""

import asyncio
import json
import os
import site
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.wheels import make_index, make_wheel

from skep_workers.host.process.zygote import Zygote

from ..conftest import open_zygote

pytestmark = pytest.mark.anyio


def environment_of_worker() -> list[tuple[str, int]]:
    """Return every file of the environment that sessions share, with the time of its last change."""
    places = [Path(place) for place in (*site.getsitepackages(), sys.prefix)]
    return sorted(
        (str(path), path.lstat().st_mtime_ns)
        for place in places
        for path in place.rglob("*")
        if "__pycache__" not in path.parts
    )


@pytest.fixture(scope="module")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """A zygote whose sessions install packages from a directory that is below their own."""
    async with open_zygote(tmp_path_factory, package_index={"no-index": "true", "find-links": "wheels"}) as zygote:
        yield zygote


@pytest.fixture(autouse=True)
def index(tmp_path: Path) -> Path:
    """The directory of wheels that is the only source of packages."""
    directory = tmp_path / "wheels"
    make_index(directory)
    return directory


async def test_a_package_can_be_imported_at_once(session):
    cell = await session.run("%pip install hive==1.0\nimport hive\nhive.version")

    assert cell.value == "1.0"
    assert "Successfully installed hive-1.0" in cell.stdout


async def test_the_environment_of_the_worker_is_unchanged(session):
    before = environment_of_worker()

    await session.text("%pip install hive==1.0\n!pip install comb\n!python -m pip install pathy")
    await session.text("import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'meadow_one'])")

    assert environment_of_worker() == before
    assert await session.value("import hive, comb, hidden, meadow.one\nmeadow.one.place") == 1


async def test_another_session_does_not_have_the_package(start_session, tmp_path_factory, zygote):
    first, second = await start_session(), type(await start_session())()
    await second.start(zygote, tmp_path_factory.mktemp("other"), {})
    await first.text("%pip install hive==1.0")

    assert (await second.run("import hive")).error.ename == "ModuleNotFoundError"
    second.process.kill()
    await second.process.gone.wait()


async def test_an_upgrade_replaces_the_old_version(session):
    await session.text("%pip install hive==1.0")

    text = await session.text("%pip install --upgrade hive\n!pip list --local")

    assert "Successfully uninstalled hive-1.0" in text
    assert text.split("--")[-1].split()[-2:] == ["hive", "2.0"]
    assert await session.value("import hive\nhive.version") == "2.0"


async def test_a_package_can_be_removed_without_a_question(session):
    await session.text("%pip install hive==1.0")

    await session.text("%pip uninstall hive")

    assert (await session.run("import hive")).error.ename == "ModuleNotFoundError"


async def test_a_package_of_the_worker_is_not_removed(session):
    text = await session.text("%pip uninstall msgpack")

    assert "outside environment" in text
    assert await session.value("import subprocess, sys\nsubprocess.call([sys.executable, '-c', 'import msgpack'])") == 0


async def test_pip_lists_and_shows_the_packages_of_session_and_worker(session):
    await session.text("%pip install hive==1.0")

    listed = json.loads((await session.run("%pip list --format json")).stdout)
    assert {"hive", "msgpack"} <= {each["name"] for each in listed}
    assert "Version: 1.0" in await session.text("%pip show hive")


async def test_what_a_package_needs_is_installed_with_it(session):
    assert await session.value("%pip install comb\nimport comb\ncomb.version") == "1.0"


async def test_parts_of_a_namespace_package_are_found_together(session):
    assert (
        await session.value("%pip install meadow_one meadow_two\nimport meadow.one, meadow.two\nmeadow.two.place") == 2
    )


async def test_directories_in_pth_files_are_found(session):
    assert await session.value("%pip install pathy\nimport hidden\nhidden.found")


@pytest.mark.parametrize("command", ["hive", "python -m hive_runs", "python3 -c 'import hive; hive.main()'"])
async def test_programs_that_cells_start_find_the_package(session, command):
    await session.text("%pip install hive==1.0\nopen('hive_runs.py', 'w').write('import hive; hive.main()');")

    assert await session.text(f"!{command}") == "hive 1.0\n"


async def test_a_spawned_process_finds_the_package(session):
    code = (
        "%pip install hive==1.0\nimport hive, multiprocessing\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    name = pool.map(hive.Bee, ['Maya'])[0].name\nname"
    )

    assert (await session.run(code)).value == "Maya"


async def test_the_packages_are_after_the_workspace_and_before_those_of_the_worker(session):
    path = await session.value("import sys\nsys.path")
    packages = next(index for index, entry in enumerate(path) if "/.packages/" in entry)

    assert path[0] == ""
    assert packages < min(index for index, entry in enumerate(path) if entry in site.getsitepackages())
    assert not [entry for entry in path[packages:] if entry.endswith("lib-dynload")]


async def test_a_newer_version_of_an_imported_package_needs_a_new_process(session):
    await session.text("%pip install hive==1.0\nimport hive")

    cell = await session.run("%pip install hive==2.0\nhive.version")

    assert cell.value == "1.0"
    [notice] = cell.notices
    assert notice.category == "packages"
    assert notice.message.startswith("hive 2.0 is installed, and hive was imported before: this process keeps")


async def test_a_failure_of_pip_fails_the_cell(session):
    cell = await session.run("%pip install honey")

    assert cell.error.ename == "CalledProcessError"
    assert "No matching distribution found for honey" in cell.stderr


async def test_pip_has_no_cache_and_its_settings_are_no_variables(session):
    assert await session.value("import os\n[name for name in os.environ if name.startswith('PIP_')]") == []
    assert (await session.text("!pip config get global.find-links")).strip() == "wheels"
    assert (await session.text("!pip config get global.no-cache-dir")).strip() == "true"


async def test_variables_that_send_packages_elsewhere_have_no_effect(session, tmp_path):
    await session.text(f"%env PIP_TARGET={tmp_path}/elsewhere\n%pip install hive==1.0")

    assert not (tmp_path / "elsewhere").exists()
    assert await session.value("import hive\nhive.version") == "1.0"


async def test_packages_are_not_among_the_files_of_the_session(session):
    await session.text("%pip install hive==1.0")

    assert await session.value("import os\nos.listdir()") == ["wheels"]


async def test_the_packages_of_the_options_are_installed_before_the_first_cell(start_session):
    session = await start_session(packages=("hive==1.*", "meadow_one"))

    cell = await session.run("import hive, meadow.one\nhive.version")

    assert cell.value == "1.0"
    assert "Successfully installed hive-1.0" in cell.stdout
    assert (await session.run("hive.version")).stdout == ""


async def test_a_cell_does_not_run_without_the_packages_of_the_options(start_session, index):
    session = await start_session(packages=("hive==3.0",))

    cell = await session.run("print('it runs')")
    assert cell.error.ename == "PackagesNotInstalled"
    assert "hive==3.0" in cell.error.evalue
    assert cell.stdout.count("it runs") == 0

    make_wheel(index, "hive", "3.0", {"hive.py": "version = '3.0'\n"})
    assert await session.value("await __import__('asyncio').sleep(0)\nimport hive\nhive.version") == "3.0"


async def test_options_that_nothing_has_checked_are_refused_in_the_session(start_session):
    session = await start_session(packages=("--index-url", "http://127.0.0.1:1"))

    cell = await session.run("1")

    assert cell.error.ename == "PackagesNotInstalled"
    assert "must be a package, not an option of pip" in cell.error.evalue


async def test_installing_ends_at_its_time_limit(start_session):
    session = await start_session(packages=("hive",), packages_seconds=0.001)

    cell = await session.run("1")

    assert cell.error.ename == "PackagesNotInstalled"
    assert "within 0.001 s (SKEP_PACKAGES_SECONDS)" in cell.error.evalue


async def test_an_interrupt_ends_pip_and_the_programs_that_it_has_started(start_session, index, tmp_path):
    source, pipe = index / "drowsy-1.0", tmp_path / "pipe"
    source.mkdir()
    os.mkfifo(pipe)
    # Building it holds one end of the pipe open, says that it has begun, and never ends.
    (source / "setup.py").write_text(
        f"import time\nheld = open({str(pipe)!r}, 'w')\nprint('it builds', flush=True)\ntime.sleep(3600)"
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: drowsy\nVersion: 1.0\n")
    session = await start_session()
    ended = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    cell = session.submit(f"%pip install --no-build-isolation --verbose {source}\n")
    await cell.said("it builds")

    session.interrupt(cell)

    assert (await cell.ended()).status == "interrupted"
    assert await ended == b""
    assert await session.value("1 + 1") == 2
