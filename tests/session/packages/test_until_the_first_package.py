"""A session that has installed nothing uses its worker's environment, and makes its own one when that is needed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.wheels import make_index

from skep_workers.host.process.zygote import Zygote

from ..conftest import open_zygote

pytestmark = pytest.mark.anyio

OWN = "import os, sys\nnot os.path.exists(sys.executable.removesuffix('bin/python') + 'make_own.py')"


@pytest.fixture(scope="module")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """A zygote whose sessions install packages from a directory that is below their own."""
    async with open_zygote(tmp_path_factory, package_index={"no-index": "true", "find-links": "wheels"}) as zygote:
        yield zygote


@pytest.fixture
def other_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("other")


async def test_a_session_without_packages_makes_one_link(session):
    found = await session.value(
        "import os, sys\nplace = sys.executable.rpartition('/.packages/')[0]\nos.listdir(place)"
    )

    assert found == [".packages"]
    assert await session.value("os.path.islink(place + '/.packages')")
    assert not await session.value(OWN)


async def test_its_commands_exist(session):
    code = "import os, shutil, sys\n[bool(shutil.which(name)) for name in ('pip', 'pip3', 'python', 'python3')]"

    assert await session.value(code) == [True] * 4
    assert await session.value("os.path.exists(sys.executable), os.environ['VIRTUAL_ENV'] in sys.executable") == (
        True,
        True,
    )


async def test_its_environment_has_the_paths_that_its_own_one_will_have(session):
    code = "import os, sys\n[sys.executable, sys.path, os.environ['PATH'], os.environ['VIRTUAL_ENV']]"
    before = await session.value(code)

    await session.text("!true")

    assert await session.value(OWN)
    assert await session.value(code) == before


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.system('pip install hive==1.0 --quiet');",
        "import os; os.system('python -m pip install hive==1.0 --quiet');",
        "import subprocess; subprocess.run('pip3 install hive==1.0', shell=True, check=True);",
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'pip', 'install', 'hive==1.0'], env={});",
        "import subprocess, sys; subprocess.run([sys.executable, '-I', '-m', 'pip', 'install', 'hive==1.0']);",
    ],
)
async def test_a_program_that_installs_makes_it_first(session, tmp_path, code):
    make_index(tmp_path / "wheels")

    await session.text(code)

    assert await session.value("import hive\nhive.version") == "1.0"
    assert await session.value(OWN)


async def test_programs_that_begin_at_the_same_time_make_one_directory(session):
    code = (
        "import os, subprocess, sys\n"
        "ask = [sys.executable, '-c', 'import msgpack, os, sys; print(os.path.realpath(sys.prefix))']\n"
        "started = [subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) for _ in range(8)]\n"
        "found = {each.communicate()[0].strip() for each in started}\n"
        "place = os.path.dirname(os.environ['VIRTUAL_ENV'])\n"
        "[len(found), sorted(os.listdir(place)), found.pop() == place + '/.packages.own']"
    )

    assert await session.value(code) == [1, [".packages", ".packages.own"], True]


async def test_no_session_changes_the_environment_of_others(start_session, zygote, other_directory):
    first = await start_session()
    second = type(first)()
    await second.start(zygote, other_directory, {})
    write = "import os\nopen(os.path.join(os.environ['VIRTUAL_ENV'], 'bin', 'tool'), 'w').write('x');"

    await first.text("!true\n" + write)

    assert not await second.value("import shutil, os\nos.path.exists(os.environ['VIRTUAL_ENV'] + '/bin/tool')")
    second.process.kill()
    await second.process.gone.wait()


async def test_the_environment_goes_on_where_no_own_one_can_be_made(session):
    code = (
        "import os, subprocess, sys\n"
        "place = os.path.dirname(os.environ['VIRTUAL_ENV'])\n"
        "open(place + '/.packages.own', 'w').close()\n"  # a file, where the directory should be
        "subprocess.run([sys.executable, '-c', 'import msgpack; print(msgpack.version)'], check=True);"
    )
    await session.text(code)

    cell = await session.run("%pip install hive==1.0")

    assert cell.error.ename == "PackagesNotInstalled"
    assert "the directory of the session's packages can't be made" in cell.error.evalue
